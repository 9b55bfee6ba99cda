import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { characterOfByte } from "../../../lib/tokenizer/byte-alphabet.ts";
import { HeddleError, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { naiveTrain } from "../pipeline/naive.ts";
import { byteNames } from "../samples.ts";

async function savedMerges(tokenizer: Tokenizer): Promise<{ merges: [string, string][]; json: unknown }> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-tokenizer-"));
  try {
    await tokenizer.save(folder);
    const json = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"));
    return { merges: json.model.merges.map((merge: string) => merge.split(" ")), json };
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("Tokenizer.train", () => {
  it("learns the merges worked out by hand", async () => {
    // 5 × low, 2 × lower, 3 × widest, 6 × newest. The most frequent pair is merged first; of equal counts, the greater.
    // Count 9: s t, e st. Count 7: o w, l ow. Count 6: w est, n e, ne west. Count 3: w i.
    const words = [..."aaaaa"].map(() => "low");
    words.push("lower", "lower", ..."aaa".split("").map(() => "widest"), ..."aaaaaa".split("").map(() => "newest"));
    const tokenizer = await Tokenizer.train(words, { vocabSize: 257 + 8 });
    const { merges } = await savedMerges(tokenizer);
    expect(merges.map((pair) => pair.join(" "))).toEqual([
      "s t",
      "e st",
      "o w",
      "l ow",
      "w est",
      "n e",
      "ne west",
      "w i",
    ]);
    // Special tokens first, then bytes in the order of GPT-2's alphabet ("!" is 1), then merges.
    expect(tokenizer.tokenToId("<|endoftext|>")).toBe(0);
    expect(tokenizer.tokenToId("!")).toBe(1);
    expect(tokenizer.tokenToId("st")).toBe(257);
    expect([...tokenizer.encode("lowest", { allowSpecial: true })]).toEqual([
      tokenizer.tokenToId("low"),
      tokenizer.tokenToId("est"),
    ]);
  });

  it("merges aaaa from left to right into aa aa", async () => {
    const tokenizer = await Tokenizer.train(["aaaa", "aaa"], { vocabSize: 259 });
    const { merges } = await savedMerges(tokenizer);
    // After a a is merged, (aa, aa) and (aa, a) occur once each. The greater pair is merged.
    expect(merges).toEqual([
      ["a", "a"],
      ["aa", "aa"],
    ]);
  });

  it("learns the merges of the naive trainer on random words", async () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "d"), minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 30 }), async (words) => {
        const tokenizer = await Tokenizer.train(words, { vocabSize: 257 + 40 });
        const { merges } = await savedMerges(tokenizer);
        expect(merges).toEqual(naiveTrain(words, 40));
      }),
      { numRuns: 60 },
    );
  });

  it("gives the same tokenizer for texts in any order, and for an array or a stream", async () => {
    const texts = Array.from({ length: 200 }, (_, i) => `the ${i} cat's hats, 日本語 ${i % 7}\n\n`);
    const forward = await savedMerges(await Tokenizer.train(texts, { vocabSize: 400, pattern: "llama3" }));
    const backward = await savedMerges(
      await Tokenizer.train(texts.toReversed(), { vocabSize: 400, pattern: "llama3" }),
    );
    expect(backward).toEqual(forward);
    async function* stream() {
      for (const text of texts) yield text;
    }
    expect(await savedMerges(await Tokenizer.train(stream(), { vocabSize: 400, pattern: "llama3" }))).toEqual(forward);
  });

  it("excludes special tokens from words and recognizes them later", async () => {
    const specialTokens = ["<|bos|>", "<|eos|>"];
    const texts = ["ab<|eos|>ab<|eos|>ab"];
    const tokenizer = await Tokenizer.train(texts, { vocabSize: 260, specialTokens, eosToken: "<|eos|>" });
    expect([...tokenizer.encode("ab<|eos|>", { allowSpecial: true })]).toEqual([tokenizer.tokenToId("ab"), 1]);
    expect(tokenizer.bosTokenId).toBe(0);
    expect(tokenizer.eosTokenIds).toEqual([1]);
    expect((await savedMerges(tokenizer)).merges).toEqual([["a", "b"]]); // no other pair to merge
    expect(tokenizer.vocabSize).toBe(259);
  });

  it("prepends a bosToken to every text only if given, also after saving", async () => {
    for (const algorithm of ["byteLevelBpe", "sentencePieceBpe", "unigram"] as const) {
      const options = { vocabSize: 320, algorithm, specialTokens: ["<unk>", "<s>", "</s>"] };
      const bare = await Tokenizer.train(["ab ab ab"], options);
      const tokenizer = await Tokenizer.train(["ab ab ab"], { ...options, bosToken: "<s>" });
      const saved = Tokenizer.fromFiles({ tokenizer: tokenizer.files()["tokenizer.json"]! });
      const own = [...bare.encode("ab ab")];
      expect(own).toEqual([...bare.encode("ab ab", { addSpecialTokens: false })]);
      for (const one of [tokenizer, saved]) expect([...one.encode("ab ab")]).toEqual([1, ...own]);
      const [pair] = await tokenizer.encodeInputs([["ab", "ab"]]);
      expect([...pair!.ids].filter((id) => id === 1).length).toBe(2);
    }
    const bert = await Tokenizer.train(["ab ab"], { vocabSize: 40, algorithm: "wordPiece", bosToken: "[CLS]" });
    expect([...bert.encode("ab")].slice(0, 1)).toEqual([2]);
    expect([...bert.encode("ab")].at(-1)).toBe(3);
  });

  it("survives saving and loading", async () => {
    const folder = await mkdtemp(join(tmpdir(), "heddle-tokenizer-"));
    const text = "It's 1234 o'clock — naïve 日本語 🎉\n\n  done";
    for (const pattern of ["gpt2", "llama3", "qwen2", "o200k"] as const) {
      const trained = await Tokenizer.train([text], {
        vocabSize: 300,
        pattern,
        chatTemplate: "{{ messages[0].content }}",
      });
      await trained.save(folder);
      const loaded = await Tokenizer.load(folder);
      expect([...loaded.encode(text, { allowSpecial: true })]).toEqual([
        ...trained.encode(text, { allowSpecial: true }),
      ]);
      expect(loaded.decode(loaded.encode(text, { allowSpecial: true }))).toBe(text);
      expect(loaded.bosTokenId).toBe(trained.bosTokenId);
      expect(loaded.eosTokenIds).toEqual(trained.eosTokenIds);
      expect(loaded.applyChatTemplate([{ role: "user", content: "hi" }]).text).toBe("hi");
    }
    await rm(folder, { recursive: true });
  });

  it("reports progress without blocking the event loop", async () => {
    // Distinct words, so that training takes many times longer than a turn may.
    const texts = Array.from({ length: 200 }, (_, i) =>
      Array.from({ length: 1000 }, (_, j) => ((i * 1000 + j) * 2_654_435_761).toString(36)).join(" "),
    );
    const phases = new Set<string>();
    const train = () => Tokenizer.train(texts, { vocabSize: 1000, onProgress: ({ phase }) => phases.add(phase) });
    if (saysTurns) expect(await leastOf(50, () => longestTurn(train), 3)).toBeLessThan(50);
    else await train();
    expect([...phases]).toEqual(["read", "merge"]);
  });

  it("stops when aborted, before and during training", async () => {
    const aborted = AbortSignal.abort();
    await expect(Tokenizer.train(["a b"], { vocabSize: 300, signal: aborted })).rejects.toMatchObject({
      code: "ABORTED",
    });
    const controller = new AbortController();
    const texts = Array.from({ length: 200_000 }, (_, i) => (i * 2_654_435_761).toString(36));
    const run = Tokenizer.train(texts, {
      vocabSize: 60_000,
      signal: controller.signal,
      onProgress: ({ phase }) => phase === "merge" && controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
  });

  it("stops when aborted in the middle of a slow pattern", async () => {
    // Native code supports patterns that no training algorithm uses: here, a look-behind of a million characters.
    const preTokenizer = [{ type: "Split", pattern: "(?<=(?:a{1000}){1000})a", isRegex: true, number: 1 }];
    const trainer = new binding.NativeTrainer({ normalizer: [], preTokenizer }, []);
    trainer.read(["a".repeat(2_000_000)], false);
    const { promise, cancel } = trainer.feed(1);
    setTimeout(cancel, 5);
    await expect(promise).rejects.toMatchObject({ code: "ABORTED", message: "Tokenizer.train: aborted" });
  });

  it("propagates exceptions of a callback or of the texts", async () => {
    const boom = new Error("boom");
    const onProgress = () => {
      throw boom;
    };
    await expect(Tokenizer.train(["some text"], { vocabSize: 300, onProgress })).rejects.toBe(boom);
    async function* broken() {
      yield "a";
      throw boom;
    }
    await expect(Tokenizer.train(broken(), { vocabSize: 300 })).rejects.toBe(boom);
  });

  it("rejects invalid options, and the error names them", async () => {
    const cases: [object, string][] = [
      [{ vocabSize: 256 }, "vocabSize"],
      [{ vocabSize: 1e9 }, "vocabSize"],
      [{ vocabSize: 300, specialTokens: ["a", "a"] }, "specialTokens"],
      [{ vocabSize: 300, specialTokens: [""] }, "specialTokens"],
      [{ vocabSize: 300, minFrequency: 0 }, "minFrequency"],
      [{ vocabSize: 300, eosToken: "</s>" }, "eosToken"],
      [{ vocabSize: 300, pattern: "\\w+" }, "pattern"],
    ];
    for (const [options, name] of cases) {
      const error = await Tokenizer.train(["text"], options as never).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(HeddleError);
      expect((error as HeddleError).message).toContain(name);
    }
    await expect(Tokenizer.train("text" as never, { vocabSize: 300 })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(Tokenizer.train([], { vocabSize: 300 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(Tokenizer.train([1 as never], { vocabSize: 300 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  describe.skipIf(!fixtures)("against the reference of ../shared/fixtures/bpe-training", () => {
    it("learns all 243 merges and the same vocabulary", async () => {
      const folder = join(fixtures!, "bpe-training");
      const corpus = await readFile(join(folder, "corpus.en"), "utf8");
      const reference = (await readFile(join(folder, "train-bpe-reference-merges.txt"), "utf8")).trimEnd().split("\n");
      const vocab = JSON.parse(await readFile(join(folder, "train-bpe-reference-vocab.json"), "utf8"));
      const tokenizer = await Tokenizer.train([corpus], { vocabSize: 500 });
      const { merges, json } = await savedMerges(tokenizer);
      expect(merges.map((pair) => pair.join(" "))).toEqual(reference);
      expect(reference).toHaveLength(243);
      expect((json as { model: { vocab: unknown } }).model.vocab).toEqual(vocab);
      expect(tokenizer.decode(tokenizer.encode(corpus, { allowSpecial: true }))).toBe(corpus);
    });
  });

  it("gives bytes the names that GPT-2 gives them", async () => {
    const names: [number, string][] = [
      [0x21, "!"],
      [0x20, "Ġ"],
      [0x0a, "Ċ"],
      [0xad, "Ń"],
    ];
    for (const [byte, name] of names) expect(characterOfByte(byte)).toBe(name);
    const tokenizer = await Tokenizer.train(["text"], { vocabSize: 257, specialTokens: [] });
    const ids = Array.from({ length: 256 }, (_, byte) => tokenizer.tokenToId(byteNames[byte]!));
    expect(ids.toSorted((a, b) => a! - b!)).toEqual(Array.from({ length: 256 }, (_, id) => id));
  });
});
