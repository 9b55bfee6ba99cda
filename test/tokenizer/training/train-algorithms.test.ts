// Training with each algorithm, compared with its definition and with SentencePiece's trainers (stored values of
// scripts/golden/sentencepiece_train.py). The official library must load the results.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compressionReport, HeddleError, Tokenizer, type TrainAlgorithm } from "../../../lib/tokenizer/index.ts";
import { oracleFolder } from "../files/packaged.ts";
import { generator, randomText } from "../generated-text.ts";
import { expectEqual, officialLibrary } from "../oracles/official-library.ts";
import { naiveTrain } from "../pipeline/naive.ts";
import { trainingText } from "../training-text.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../golden/sentencepiece/trained.json", import.meta.url), "utf8"),
) as Record<"unigram" | "bpe", { tokens: number; pieces: string[]; logLikelihood: number }>;
const text = trainingText();
const lines = text.split("\n");
const algorithms: TrainAlgorithm[] = ["byteLevelBpe", "sentencePieceBpe", "unigram", "wordPiece"];
const plain = { addSpecialTokens: false };
const tokensOf = (tokenizer: Tokenizer) => lines.reduce((sum, line) => sum + tokenizer.count(line, plain), 0);
const parsed = (tokenizer: Tokenizer) => JSON.parse(tokenizer.files()["tokenizer.json"]);

describe.each(algorithms)("Tokenizer.train with %s", (algorithm) => {
  it("gives the same files for any number of threads and any order of texts", async () => {
    const train = async (texts: string[], threads: number) =>
      (await Tokenizer.train(texts, { vocabSize: 500, algorithm, threads })).files();
    const once = await train(lines, 1);
    expect(await train(lines, 2)).toEqual(once);
    expect(await train(lines.toReversed(), 5)).toEqual(once);
    // WordPiece treats a line break as whitespace, so one text of all lines gives the same vocabulary.
    if (algorithm === "wordPiece") expect(await train([text], 3)).toEqual(once);
  });

  it("reaches the requested size, survives saving and compresses text", async () => {
    const tokenizer = await Tokenizer.train(lines, { vocabSize: 600, algorithm });
    expect(tokenizer.vocabSize).toBe(600);
    const loaded = Tokenizer.fromFiles({
      tokenizer: tokenizer.files()["tokenizer.json"],
      tokenizerConfig: tokenizer.files()["tokenizer_config.json"],
    });
    const random = generator(1);
    for (let i = 0; i < 200; i++) {
      const sample = (i < 100 ? lines[i]! : randomText(random))
        .replaceAll("▁", "_") // SentencePiece's space
        .replaceAll("<0x", "<x"); // a Unigram model reads <0x0A> as the byte, as in the official library
      const ids = tokenizer.encode(sample);
      expect(loaded.encode(sample)).toEqual(ids);
      if (algorithm !== "wordPiece")
        expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(sample.toWellFormed());
    }
    expect(loaded.unkTokenId).toBe(tokenizer.unkTokenId);
    expect(loaded.bosTokenId).toBe(tokenizer.bosTokenId);
    expect(Buffer.byteLength(text) / tokensOf(tokenizer)).toBeGreaterThan(3);
  });

  it("excludes special tokens from learned tokens and from plain text", async () => {
    const specialTokens = ["<unk>", "<s>", "</s>", "[UNK]", "soltoed"];
    const tokenizer = await Tokenizer.train(lines, {
      ...{ vocabSize: 700, algorithm, specialTokens, unkToken: algorithm === "wordPiece" ? "[UNK]" : "<unk>" },
    });
    for (const [id, token] of specialTokens.entries()) {
      expect(tokenizer.tokenToId(token)).toBe(id);
      const ids = [...tokenizer.encode(`a ${token} b`, plain)];
      expect(ids.filter((one) => one === id && one !== tokenizer.unkTokenId)).toEqual([]);
      expect([...tokenizer.encode(`a ${token} b`, { ...plain, allowSpecial: true })]).toContain(id);
    }
  });

  it("reports its phases and stops when aborted", async () => {
    const phases = new Set<string>();
    await Tokenizer.train(lines, { vocabSize: 500, algorithm, onProgress: ({ phase }) => phases.add(phase) });
    expect([...phases]).toEqual(["read", "merge"]);
    const controller = new AbortController();
    const many = Array.from(
      { length: 60_000 },
      (_, i) => `${(i * 2_654_435_761).toString(36)}${(i * 40_503).toString(36)}`,
    );
    const run = Tokenizer.train(many, {
      ...{ vocabSize: 30_000, algorithm, signal: controller.signal },
      onProgress: ({ phase }) => phase === "merge" && controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: "ABORTED" });
  });

  it.skipIf(oracleFolder === undefined)(
    "gives a file that the official library loads, with the same ids and texts",
    async () => {
      for (const options of [{}, { normalization: "nfkc" as const, byteFallback: false, lowercase: false }]) {
        const tokenizer = await Tokenizer.train(lines, { vocabSize: 550, algorithm, ...options });
        const official = officialLibrary().Tokenizer.fromString(tokenizer.files()["tokenizer.json"]);
        const random = generator(3);
        await expectEqual(official, tokenizer, 1000, () => {
          const line = lines[Math.floor(random() * lines.length)]!;
          return random() < 0.5 ? line : randomText(random);
        });
      }
    },
  );
});

describe("merges of characters", () => {
  it("equal those of the naive trainer on random words", async () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "é", "日"), minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 30 }), async (words) => {
        const options = { algorithm: "sentencePieceBpe", characterCoverage: 1, byteFallback: false } as const;
        const alphabet = new Set(`▁${words.join("")}`).size;
        const tokenizer = await Tokenizer.train(words, { ...options, vocabSize: 3 + alphabet + 40 });
        const merges = parsed(tokenizer).model.merges.map((merge: string) => merge.split(" "));
        expect(merges).toEqual(
          naiveTrain(
            words.map((one) => `▁${one}`),
            40,
          ),
        );
      }),
      { numRuns: 40 },
    );
  });

  it("use ## for continuation pieces in WordPiece", async () => {
    // a ##b 3 times → ab. Then c ##a and ##a ##b occur twice each, and the greater pair wins → ca. Then ca ##b → cab.
    const tokenizer = await Tokenizer.train(["ab ab ab cab cab"], { algorithm: "wordPiece", vocabSize: 5 + 6 + 3 });
    expect(Object.keys(parsed(tokenizer).model.vocab).slice(5)).toEqual(
      expect.arrayContaining(["a", "b", "c", "##a", "##b", "##c", "ab", "ca", "cab"]),
    );
    expect(Array.from(tokenizer.encode("AB cabab x", plain), (id) => tokenizer.idToToken(id))).toEqual([
      "ab",
      "cab",
      "##a",
      "##b",
      "[UNK]",
    ]);
    expect(tokenizer.decode(tokenizer.encode("ab cab", plain))).toBe("ab cab");
  });

  it("are close to SentencePiece's: token counts within 1 %, and more than 80 % of its pieces", async () => {
    const tokenizer = await Tokenizer.train(lines, { algorithm: "sentencePieceBpe", vocabSize: 600 });
    expect(Math.abs(tokensOf(tokenizer) / golden.bpe.tokens - 1)).toBeLessThan(0.01);
    const own = new Set(Object.keys(parsed(tokenizer).model.vocab));
    expect(golden.bpe.pieces.filter((piece) => own.has(piece)).length).toBeGreaterThan(0.8 * golden.bpe.pieces.length);
  });

  it("omit rare characters according to the coverage", async () => {
    const texts = ["abab ".repeat(500), "xy"];
    const all = await Tokenizer.train(texts, { algorithm: "sentencePieceBpe", vocabSize: 300, characterCoverage: 1 });
    const most = await Tokenizer.train(texts, {
      algorithm: "sentencePieceBpe",
      vocabSize: 300,
      characterCoverage: 0.99,
    });
    expect(all.tokenToId("x")).toBeDefined();
    expect(most.tokenToId("x")).toBeUndefined();
    expect(most.tokenToId("a")).toBeDefined();
    expect(most.decode(most.encode("xab"))).toBe("xab");
  });
});

describe("a trained Unigram model", () => {
  it("gives the text a higher probability than SentencePiece's model", async () => {
    const tokenizer = await Tokenizer.train(lines, { algorithm: "unigram", vocabSize: 600 });
    const { vocab } = parsed(tokenizer).model as { vocab: [string, number][] };
    let likelihood = 0;
    for (const line of lines) for (const id of tokenizer.encode(line, plain)) likelihood += vocab[id]![1];
    expect(likelihood).toBeGreaterThan(golden.unigram.logLikelihood);
    expect(Math.abs(tokensOf(tokenizer) / golden.unigram.tokens - 1)).toBeLessThan(0.05);
    // Every frequent character of the text has a piece, and the probabilities sum to about one.
    for (const character of new Set(text.replaceAll(/\s/gu, ""))) {
      const count = text.split(character).length - 1;
      if (count > 20) expect(tokenizer.tokenToId(character), character).toBeDefined();
    }
    const total = vocab.slice(259).reduce((sum, [, score]) => sum + Math.exp(score), 0);
    expect(total).toBeGreaterThan(0.8);
    expect(total).toBeLessThan(1.01);
  });

  it("finds the words of a text without spaces", async () => {
    const random = generator(9);
    const words = ["北京", "大学生", "喜欢", "音乐", "图书馆"];
    const texts = Array.from({ length: 400 }, () =>
      Array.from({ length: 12 }, () => words[Math.floor(random() * words.length)]).join(""),
    );
    const tokenizer = await Tokenizer.train(texts, { algorithm: "unigram", vocabSize: 259 + 14 + 5 + 3 });
    for (const word of words) expect(tokenizer.tokenToId(word), word).toBeDefined();
  });

  it("reproduces the unusual text that it was trained on", async () => {
    const odd = [
      "a",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      " ",
      "\n\n\n",
      "\u0000",
      "𝔸".repeat(2000),
      "ab".repeat(100),
    ];
    for (const one of odd) {
      const tokenizer = await Tokenizer.train([one], { algorithm: "unigram", vocabSize: 300, characterCoverage: 1 });
      expect(tokenizer.decode(tokenizer.encode(one))).toBe(one);
    }
  });
});

it("compressionReport returns the compression of each named list of texts", async () => {
  const tokenizer = await Tokenizer.train(lines, { algorithm: "unigram", vocabSize: 600, byteFallback: false });
  const corpora = { own: lines, emoji: ["😀😀", "😀"], none: [] as string[] };
  const [own, emoji, none] = await compressionReport(tokenizer, corpora);
  expect(own).toMatchObject({ name: "own", bytes: Buffer.byteLength(lines.join("")), tokens: tokensOf(tokenizer) });
  expect(own!.bytesPerToken).toBeCloseTo(own!.bytes / own!.tokens, 10);
  // Each text has a ▁, and unknown text is one token.
  expect(emoji).toMatchObject({ bytes: 12, characters: 3, tokens: 4, charactersPerToken: 0.75, unknown: 0.5 });
  expect(none).toMatchObject({ tokens: 0, bytesPerToken: 0 });
  await expect(compressionReport(tokenizer, { text: "text" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});

it("Tokenizer.train rejects invalid options, and the error names them", async () => {
  const cases: [object, string][] = [
    [{ algorithm: "bpe" }, "algorithm"],
    [{ algorithm: "unigram", vocabSize: 100 }, "vocabSize"],
    [{ algorithm: "unigram", characterCoverage: 0 }, "characterCoverage"],
    [{ algorithm: "unigram", maxPieceLength: 0 }, "maxPieceLength"],
    [{ algorithm: "unigram", seedSize: 1.5 }, "seedSize"],
    [{ algorithm: "unigram", normalization: "nfc" }, "normalization"],
    [{ algorithm: "wordPiece", specialTokens: ["[PAD]"] }, "unkToken"],
    [{ algorithm: "unigram", specialTokens: ["<unk>", "<0x0A>"] }, "specialTokens"],
    [{ algorithm: "sentencePieceBpe", specialTokens: ["<unk>", "<0xFF>"] }, "specialTokens"],
    [{ threads: 0 }, "threads"],
  ];
  for (const [options, name] of cases) {
    const error = await Tokenizer.train(["text"], { vocabSize: 400, ...options } as never).catch((e: unknown) => e);
    expect(error, name).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).message).toContain(name);
  }
});
