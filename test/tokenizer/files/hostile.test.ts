// Untrusted files: any bytes give a HeddleError or a working tokenizer, never a crash.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { HeddleError, Tokenizer } from "../../../lib/tokenizer/index.ts";
import { addonPath } from "../../helpers/addon.ts";
import { added, byteLevelJson, fromJson, sentencePieceJson } from "../samples.ts";

const sample = "It's 12 o'clock, déjà vu 日本 <s> </s>\n\n";

/** Loads and, if that works, uses the tokenizer. Every exception must be a HeddleError. */
function survives(texts: Parameters<typeof Tokenizer.fromFiles>[0]): HeddleError | undefined {
  try {
    const tokenizer = Tokenizer.fromFiles(texts);
    const { ids } = tokenizer.encodeWithOffsets(sample);
    tokenizer.decode(ids);
    tokenizer.encode(sample, { allowSpecial: false });
    const decoder = tokenizer.decoder();
    for (const id of ids) decoder.push(id);
    decoder.flush();
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code).toMatch(/INVALID_FILE|UNSUPPORTED/u);
    return error as HeddleError;
  }
}

const small = {
  ...sentencePieceJson(["▁", "a", "▁a", "o"], [["▁", "a"]]),
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [{ type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: true }],
  },
  normalizer: {
    type: "Sequence",
    normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { Regex: "a+" }, content: "b" }],
  },
};
small.model.vocab = Object.fromEntries(
  Object.entries(small.model.vocab)
    .slice(0, 40)
    .concat([
      ["▁", 260],
      ["a", 261],
      ["▁a", 262],
    ]),
);

describe("untrusted tokenizer.json", () => {
  it("is rejected if a Unigram or WordPiece token has more than 1024 characters", () => {
    const parts = { ...byteLevelJson([]), decoder: null };
    const unigram = (token: string) => ({
      ...parts,
      pre_tokenizer: null,
      model: {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["?", 0],
          ["é", -1],
          [token, -2],
        ],
      },
    });
    const wordPiece = (token: string, longest: number) => ({
      ...parts,
      pre_tokenizer: { type: "Whitespace" },
      model: {
        type: "WordPiece",
        unk_token: "?",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: longest,
        vocab: { "?": 0, é: 1, "##é": 2, [token]: 3 },
      },
    });
    const long = "é".repeat(1024);
    const message = /expected tokens of at most \d+ characters \(Unigram, WordPiece\), got \d+/u;
    expect([...fromJson(unigram(long)).encode(long)]).toEqual([2]);
    expect(() => fromJson(unigram(`${long}é`))).toThrow(message);
    expect([...fromJson(wordPiece(long, 5000)).encode(`${long}é`)]).toEqual([3, 2]);
    expect([...fromJson(wordPiece(`##${long}`, 5000)).encode(`é${long}`)]).toEqual([1, 3]);
    expect(() => fromJson(wordPiece(`${long}ééé`, 5000))).toThrow(message);
    // With max_input_chars_per_word 100, words are never as long as the token, so it is ignored.
    const short = fromJson(wordPiece(`${long}ééé`, 100));
    expect([...short.encode("ééé")]).toEqual([1, 2, 2]);
    expect([...short.encode(`${long}ééé`)]).toEqual([0]);
  });

  it("is rejected with INVALID_FILE if truncated at any character", () => {
    const text = JSON.stringify(small);
    for (let end = 0; end < text.length; end++) {
      expect(survives({ tokenizer: text.slice(0, end) })?.code).toBe("INVALID_FILE");
    }
    expect(survives({ tokenizer: text })).toBeUndefined();
  });

  it("loads or is rejected with any value in any place", () => {
    const paths: (string | number)[][] = [];
    const walk = (value: unknown, path: (string | number)[]) => {
      if (path.length > 0) paths.push(path);
      if (typeof value !== "object" || value === null) return;
      const entries = Object.entries(value);
      for (const [key, inner] of path.at(-1) === "vocab" ? entries.slice(0, 3).concat(entries.slice(-3)) : entries) {
        walk(inner, [...path, Array.isArray(value) ? Number(key) : key]);
      }
    };
    walk(small, []);
    const odd = [
      null,
      true,
      -1,
      1.5,
      4_294_967_295,
      2 ** 53,
      "",
      "x",
      "\ud800",
      [],
      [[]],
      {},
      { type: "Sequence" },
      "NFKC",
      "ByteLevel",
    ];
    let loaded = 0;
    const unnamed: string[] = [];
    const isNamed = (message: string, path: readonly (string | number)[]) =>
      path.some((part) => typeof part === "string" && message.includes(part));
    for (const path of paths) {
      for (const value of odd) {
        const copy = structuredClone(small) as never as Record<string | number, unknown>;
        let at = copy;
        for (const key of path.slice(0, -1)) at = at[key] as typeof at;
        at[path.at(-1)!] = value;
        const error = survives({ tokenizer: JSON.stringify(copy) });
        if (error === undefined) loaded++;
        else if (!isNamed(error.message, path)) unnamed.push(`${path.join(".")}: ${error.message}`);
      }
    }
    // Some values are valid, most are not, and the message of a rejected value names its place.
    const total = paths.length * odd.length;
    expect(loaded).toBeGreaterThan(total / 20);
    expect(loaded).toBeLessThan(total / 2);
    expect(unnamed).toEqual([]);
  });

  it("loads or is rejected with any characters changed", () => {
    const text = JSON.stringify(small);
    const outcomes = new Set<boolean>(); // both must occur, or the edits test nothing
    const edit = fc.tuple(fc.nat(text.length - 1), fc.constantFrom(...'"{}[]:,0129-.e\\u▁<> '));
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const characters = [...text];
        for (const [at, character] of edits) characters[at] = character;
        outcomes.add(survives({ tokenizer: characters.join("") }) === undefined);
      }),
      { numRuns: 400 },
    );
    expect(outcomes).toEqual(new Set([true, false]));
  });

  it("is rejected if sizes, ids or nesting are out of range", () => {
    const bomb = (value: object) => survives({ tokenizer: JSON.stringify(value) })?.message;
    expect(bomb(byteLevelJson([], { added_tokens: [added(4_000_000_000, "x")] }))).toMatch(/added_tokens\[0\]\.id/u);
    expect(bomb({ ...byteLevelJson([]), model: { type: "BPE", vocab: { a: 1e9 }, merges: [] } })).toMatch(/vocab/u);
    expect(bomb(byteLevelJson([["a", "b"]], {}, { merges: [["a", "zz"]] }))).toMatch(/merges\[0\]/u);
    expect(bomb(byteLevelJson([], { added_tokens: [added(300, "x".repeat(5000))] }))).toMatch(/characters/u);
    let nested: object = { type: "NFC" };
    for (let depth = 0; depth < 100; depth++) nested = { type: "Sequence", normalizers: [nested] };
    expect(bomb(byteLevelJson([], { normalizer: nested }))).toMatch(/nested/u);
    const wide = Array.from({ length: 1000 }, () => ({ type: "NFC" }));
    expect(bomb(byteLevelJson([], { normalizer: { type: "Sequence", normalizers: wide } }))).toMatch(/parts/u);
    expect(bomb({ ...byteLevelJson([]), model: { type: "Other", vocab: [] } })).toMatch(/Other/u);
    expect(survives({ tokenizer: "[".repeat(100_000) })?.code).toBe("INVALID_FILE");
    const deep = "[".repeat(50_000) + "]".repeat(50_000);
    for (const place of ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"]) {
      const text = JSON.stringify({ ...byteLevelJson([]), [place]: "DEEP" });
      expect(survives({ tokenizer: text.replace('"DEEP"', deep) })?.code).toBe("INVALID_FILE");
      expect(survives({ tokenizer: text.replace('"DEEP"', `[${deep}]`) })?.code).toBe("INVALID_FILE");
      const inside = `{"type":${deep},"pattern":${deep},"vocab":{},"merges":[${deep}]}`;
      expect(survives({ tokenizer: text.replace('"DEEP"', inside) })?.code).toBe("INVALID_FILE");
    }
  });

  it("can contain a pattern that is too slow for some texts, which are then rejected", () => {
    const pattern = { type: "Split", pattern: { Regex: "a*a*a*a*a*a*b" }, behavior: "Isolated" };
    const tokenizer = fromJson(byteLevelJson([], { pre_tokenizer: { type: "Sequence", pretokenizers: [pattern] } }));
    expect([...tokenizer.encode("a")]).toEqual([0x61]);
    expect(() => tokenizer.encode("a".repeat(20_000))).toThrowError(
      expect.objectContaining({ code: "INVALID_FILE", message: expect.stringMatching(/pattern/u) }),
    );
  });

  it("cannot make texts grow without limit", () => {
    const sequence = (list: string, part: object) => ({ type: "Sequence", [list]: Array(60).fill(part) });
    const doubles = { type: "Replace", pattern: { String: "a" }, content: "aa" };
    const level = { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: false };
    for (const parts of [
      { normalizer: sequence("normalizers", doubles) },
      { normalizer: { type: "Replace", pattern: { String: "a" }, content: "x".repeat(1 << 20) } },
      { normalizer: { type: "Prepend", prepend: "x".repeat(1 << 20) } },
      { normalizer: sequence("normalizers", { type: "ByteLevel" }) },
      { pre_tokenizer: sequence("pretokenizers", level) },
    ]) {
      const tokenizer = fromJson(byteLevelJson([], parts));
      expect(() => tokenizer.encode("éa".repeat(1000))).toThrowError(
        expect.objectContaining({ code: "INVALID_FILE", message: expect.stringMatching(/times its length/u) }),
      );
    }
  });

  it("is rejected if a search pattern is empty", () => {
    const nothing = { type: "Replace", pattern: { String: "" }, content: "x" };
    const split = { type: "Split", pattern: { String: "" }, behavior: "Isolated", invert: false };
    for (const parts of [{ normalizer: nothing }, { pre_tokenizer: { type: "Sequence", pretokenizers: [split] } }]) {
      const error = survives({ tokenizer: JSON.stringify(byteLevelJson([], parts)) });
      expect(error).toMatchObject({ code: "INVALID_FILE", message: expect.stringMatching(/pattern/) });
      const filled = JSON.stringify(byteLevelJson([], parts)).replace('"String":""', '"String":"a"');
      expect(survives({ tokenizer: filled })).toBeUndefined();
    }
  });

  it("can strip the ends of a text that has a long run of spaces inside", () => {
    const strip = { type: "Strip", strip_left: true, strip_right: true };
    const tokenizer = fromJson(byteLevelJson([], { normalizer: strip }));
    const text = `\u0085 a${" ".repeat(300_000)}b \u3000`;
    expect(tokenizer.encode(text)).toHaveLength(300_002);
  });

  it("can name tokens like built-in JavaScript properties", () => {
    const json = byteLevelJson([]);
    const text = JSON.stringify(json).replace('"vocab":{', '"vocab":{"__proto__":300,"constructor":301,');
    const tokenizer = Tokenizer.fromFiles({ tokenizer: text });
    expect(tokenizer.tokenToId("__proto__")).toBe(300);
    expect(tokenizer.idToToken(301)).toBe("constructor");
    expect(tokenizer.tokenToId("toString")).toBeUndefined();
  });
});

describe("other tokenizer files", () => {
  const tokenizer = JSON.stringify(byteLevelJson([]));
  it("are rejected or ignored if invalid", () => {
    expect(survives({ tokenizer, tokenizerConfig: "{" })?.message).toMatch(/^tokenizer_config\.json/u);
    expect(survives({ tokenizer, specialTokensMap: "[]" })?.message).toMatch(/^special_tokens_map\.json/u);
    expect(survives({ tokenizer, tokenizerConfig: '{"chat_template": 3}' })?.code).toBe("INVALID_FILE");
    expect(survives({ tokenizer, tokenizerConfig: '{"bos_token": 3, "eos_token": {"content": []}}' })).toBeUndefined();
    expect(survives({ tokenizer, generationConfig: '{"eos_token_id": ["a", -1, 1e300, 3]}' })).toBeUndefined();
  });

  it("can be missing, except for the vocabulary", async () => {
    await expect(Tokenizer.load(join(tmpdir(), "heddle-no-such-folder"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(Tokenizer.load(3 as never)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const folder = await mkdtemp(join(tmpdir(), "heddle-tokenizer-"));
    await expect(Tokenizer.load(folder)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await writeFile(join(folder, "vocab.json"), '{"a": 0}');
    await expect(Tokenizer.load(join(folder, "vocab.json"))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: `${join(folder, "merges.txt")}: no such file`,
    });
    const none = join(folder, "none.json");
    await expect(Tokenizer.load(none)).rejects.toMatchObject({ message: `${none}: no such file` });
    await writeFile(join(folder, "tokenizer.json"), tokenizer);
    expect((await Tokenizer.load(folder)).vocabSize).toBe(256);
    expect((await Tokenizer.load(join(folder, "tokenizer.json"))).vocabSize).toBe(256);
    await expect(Tokenizer.load(folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    await rm(folder, { recursive: true });
  });
});

describe("the addon", () => {
  it("throws only HeddleErrors for arguments of any kind, and a TypeError for a foreign `this`", async () => {
    type Methods = Record<string, (...args: unknown[]) => unknown>;
    const { NativeTokenizer, NativeDecoder, NativeTrainer, NativeBatch } = binding as never as Record<
      string,
      new (
        ...args: unknown[]
      ) => Methods
    >;
    const odd = [
      undefined,
      null,
      3,
      -1,
      "text",
      {},
      [],
      [1],
      new Uint32Array(5),
      new Uint8Array(3),
      () => 0,
      Number.NaN,
    ];
    const failures: unknown[] = [];
    const jobs: Promise<unknown>[] = [];
    const call = (body: () => unknown) => {
      try {
        const result = body() as { promise?: Promise<unknown> } | undefined;
        if (result?.promise) jobs.push(result.promise.catch((error) => failures.push(error)));
      } catch (error) {
        failures.push(error);
      }
    };
    const { native } = fromJson(byteLevelJson([["a", "b"]])) as never as { native: Methods };
    const functionsOf = (object: Methods) =>
      Object.getOwnPropertyNames(object).filter(
        (name) => name !== "constructor" && typeof Object.getOwnPropertyDescriptor(object, name)!.value === "function",
      );
    const inherited = functionsOf(Object.getPrototypeOf(native));
    expect(inherited).toContain("decodeBatch");
    expect(functionsOf(native)).toContain("encode");
    for (const a of odd) {
      call(() => new NativeTokenizer!(a));
      call(() => new NativeTrainer!(a, a));
      for (const b of odd) {
        call(() => new NativeDecoder!(a, b));
        call(
          () => new NativeTokenizer!({ tokens: a, tokenLengths: b, tokenIds: b, stages: new Uint32Array([9, 9, 9]) }),
        );
        for (const name of [...inherited, ...functionsOf(native)]) call(() => native[name]!(a, b, a));
      }
      for (const name of inherited) expect(() => native[name]!.call(a, a)).toThrow(TypeError("Illegal invocation"));
    }
    for (const a of odd)
      for (const b of odd) {
        const batch = new NativeBatch!(native, 0);
        const trainer = new NativeTrainer!(Uint32Array.of(0, 0, 1), []);
        for (const name of ["takeIds", "takeOffsets", "expect", "read", "run", "takeIds", "read", "close", "run"])
          call(() => batch[name]!(a, b));
        for (const name of ["read", "feed", "forget", "feed", "read", "trainBytes"]) call(() => trainer[name]!(a, b));
      }
    await Promise.all(jobs);
    expect(failures.length).toBeGreaterThan(1000);
    expect([...new Set(failures.filter((error) => !(error instanceof HeddleError)).map(String))]).toEqual([]);
  });

  it("survives termination of a worker during its work", async () => {
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const loaded = { exports: {} };
      process.dlopen(loaded, workerData);
      const trainer = new loaded.exports.NativeTrainer(Uint32Array.of(0, 0, 1), []);
      const words = Array.from({ length: 100000 }, (_, i) => (i * 2654435761).toString(36));
      trainer.read(words, false);
      trainer.feed(1).promise.then(() => {
        trainer.trainBytes(60000, 1, () => parentPort.postMessage("working"));
      });`;
    for (let round = 0; round < 3; round++) {
      const path = addonPath();
      const worker = new Worker(code, { eval: true, workerData: path });
      await new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      });
      expect(await worker.terminate()).toBe(1);
    }
  });
});
