// Vocabularies stored in native code: GGUF files, and tokenizer.json files of every model type.

import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { binding } from "../../../lib/binding/index.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { array, gguf, key } from "../../formats/gguf/gguf-bytes.ts";
import { temporaryFile, text, u64 } from "../../formats/helpers.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

const SCALAR = { string: 8, f32: 6, i32: 5 };
const i32s = (values: readonly number[]) => Buffer.from(Int32Array.from(values).buffer);

function sentencePieceFile(tokens: readonly (string | Buffer)[], scores: readonly number[], types: readonly number[]) {
  const strings = tokens.map((token) =>
    typeof token === "string" ? text(token) : Buffer.concat([u64(token.length), token]),
  );
  const keys = [
    key("tokenizer.ggml.model", SCALAR.string, text("llama")),
    key("tokenizer.ggml.tokens", 9, array(SCALAR.string, tokens.length, Buffer.concat(strings))),
    key("tokenizer.ggml.scores", 9, array(SCALAR.f32, scores.length, Buffer.from(Float32Array.from(scores).buffer))),
    key("tokenizer.ggml.token_type", 9, array(SCALAR.i32, types.length, i32s(types))),
  ];
  return temporaryFile(gguf({ keys }), "vocabulary.gguf");
}

/** Every split of a piece into two pieces, ordered by descending score of the whole piece. */
function naiveMerges(
  tokens: readonly string[],
  scores: readonly number[],
  types: readonly number[],
): [string, string][] {
  const pieces = new Map<string, number>();
  for (const [id, token] of tokens.entries())
    if ([1, 4].includes(types[id]!) && !pieces.has(token)) pieces.set(token, id);
  const first = (token: string) => tokens.indexOf(token);
  const merges = [...pieces].flatMap(([piece, id]) => {
    const characters = [...piece];
    return characters.slice(1).flatMap((_, i) => {
      const [left, right] = [characters.slice(0, i + 1).join(""), characters.slice(i + 1).join("")];
      return pieces.has(left) && pieces.has(right) ? [{ score: scores[id]!, left, right }] : [];
    });
  });
  merges.sort((a, b) => b.score - a.score || first(a.left) - first(b.left) || first(a.right) - first(b.right));
  return merges.map(({ left, right }) => [left, right]);
}

describe("merges derived from scores", () => {
  it("contain every split of a piece into two pieces, best score first", async () => {
    const piece = fc.string({ unit: fc.constantFrom("a", "b", "▁", "é", "👍"), minLength: 1, maxLength: 4 });
    const entry = fc.record({ piece, score: fc.integer({ min: -5, max: 0 }), type: fc.constantFrom(1, 1, 1, 3, 4, 5) });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { minLength: 1, maxLength: 40 }), async (entries) => {
        const tokens = ["<unk>", ...entries.map((one) => one.piece)];
        const scores = [0, ...entries.map((one) => one.score)];
        const types = [2, ...entries.map((one) => one.type)];
        const tokenizer = await Tokenizer.load(sentencePieceFile(tokens, scores, types));
        const { model } = JSON.parse(tokenizer.files()["tokenizer.json"]) as {
          model: { merges: (string | string[])[] };
        };
        const merges = model.merges.map((merge) => (typeof merge === "string" ? merge.split(" ") : merge));
        expect(merges).toEqual(naiveMerges(tokens, scores, types));
        // A record of plain arrays gives the same vocabulary.
        const record = {
          "tokenizer.ggml.model": "llama",
          "tokenizer.ggml.tokens": tokens,
          "tokenizer.ggml.scores": scores,
          "tokenizer.ggml.token_type": types,
        };
        const sync = Tokenizer.fromGguf(record);
        expect(sync.files()).toEqual(tokenizer.files());
        for (const sample of ["aab▁é👍ba", "bbbb", tokens.join("")])
          expect(sync.encode(sample)).toEqual(tokenizer.encode(sample));
      }),
      { numRuns: 60 },
    );
  });

  it("require pieces of bounded length, and scores that are numbers", () => {
    const record = (tokens: string[]) => ({
      "tokenizer.ggml.model": "llama",
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.scores": tokens.map(() => 0),
    });
    expect(() => Tokenizer.fromGguf(record(["a", "é".repeat(513)]))).toThrow(
      "tokenizer.ggml.tokens[1]: expected at most 512 characters, got 513",
    );
    const long = Array.from({ length: 200 }, (_, i) => String(i).padStart(500, "x"));
    expect(() => Tokenizer.fromGguf(record(long))).toThrow(
      "tokenizer.ggml.tokens: expected squared token lengths that add up to at most",
    );
    expect(() => Tokenizer.fromGguf(record(["a", "b".repeat(70_000)]))).toThrow(
      "tokenizer.ggml.tokens: expected at most 65536 characters, got 70000",
    );
    const nan = { ...record(["a"]), "tokenizer.ggml.scores": [Number.NaN] };
    expect(() => Tokenizer.fromGguf(nan)).toThrow("tokenizer.ggml.scores: expected numbers, got NaN");
  });
});

describe("GGUF arrays of strings", () => {
  it("are read across the reader's windows, with malformed bytes as U+FFFD", async () => {
    const strings = [
      "",
      "é",
      "x".repeat(1_100_000),
      Buffer.from("a\xffb\xe2\x96", "latin1"),
      ...Array.from({ length: 50_000 }, (_, i) => `▁token ${i}`),
    ];
    const bytes = strings.map((one) => (typeof one === "string" ? text(one) : Buffer.concat([u64(one.length), one])));
    const keys = [key("a", 9, array(SCALAR.string, strings.length, Buffer.concat(bytes)))];
    const { metadata, file } = await openGguf(temporaryFile(gguf({ keys }), "strings.gguf"));
    expect(metadata.count("a")).toBe(strings.length);
    expect(metadata.strings("a")).toEqual(strings.map((one) => (typeof one === "string" ? one : one.toString("utf8"))));
    file.close();
  });

  it("stay readable after a tokenizer has used them", async () => {
    const path = sentencePieceFile(["<unk>", "a", "b", "ab"], [0, 0, 0, 1], [2, 1, 1, 1]);
    const { metadata, file } = await openGguf(path);
    file.close();
    const kept = await Tokenizer.fromGgufAsync(metadata.record());
    expect(metadata.strings("tokenizer.ggml.tokens")).toEqual(["<unk>", "a", "b", "ab"]);
    expect([...kept.encode("ab")]).toEqual([...(await Tokenizer.load(path)).encode("ab")]);
  });

  it("GGUF arrays of strings of two million tokens load without blocking the event loop", {
    timeout: 120_000,
  }, async () => {
    const letters = Array.from({ length: 126 }, (_, i) => String.fromCharCode(0x4e00 + i));
    const pairs = letters.flatMap((a) => letters.map((b) => a + b));
    const tokens = ["<unk>", ...letters, ...pairs];
    for (const pair of pairs) for (const letter of letters) if (tokens.length < 2_000_000) tokens.push(pair + letter);
    const count = tokens.length;
    const scores = Buffer.from(Float32Array.from(tokens, (_, i) => -i).buffer);
    const keys = [
      key("tokenizer.ggml.model", SCALAR.string, text("llama")),
      key("tokenizer.ggml.tokens", 9, array(SCALAR.string, count, joined(tokens))),
      key("tokenizer.ggml.scores", 9, array(SCALAR.f32, count, scores)),
      key("tokenizer.ggml.token_type", 9, array(SCALAR.i32, count, i32s(tokens.map((_, i) => (i === 0 ? 2 : 1))))),
    ];
    const path = temporaryFile(gguf({ keys }), "large.gguf");
    const tokenizer = await Tokenizer.load(path);
    expect(tokenizer.vocabSize).toBe(count);
    const ranks = new Map(tokens.map((token, rank) => [token, rank]));
    const rankOf = (left: string, right: string) => ranks.get(left + right);
    for (const sample of samples(letters)) {
      // The prepended ▁ is not in the vocabulary, so that it becomes <unk>.
      const [mark, ...pieces] = [...tokenizer.encode(sample)].map((id) => tokenizer.idToToken(id));
      expect([mark, ...pieces]).toEqual(["<unk>", ...naivelyMerged(sample, rankOf)]);
    }
    if (saysTurns) expect(await leastOf(50, () => longestTurn(() => Tokenizer.load(path)), 4)).toBeLessThan(50);
  });

  it("GGUF arrays of strings of a million merges are applied in the order of their ranks", {
    timeout: 120_000,
  }, async () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => byteCharacter(byte));
    const letters = [..."abcdefghijklmnopqrstuvwxyz0123456"];
    const tokens = [...bytes];
    for (let level = letters; tokens.length < 1_100_000; ) {
      level = level.flatMap((start) => letters.map((letter) => start + letter));
      for (const token of level) if (tokens.length < 1_100_000) tokens.push(token);
    }
    const merges = tokens.slice(256).map((token) => [token.slice(0, -1), token.slice(-1)] as const);
    // Some tokens have two merges. One pair is listed twice, and its later rank counts.
    for (let i = 2000; i < 3000; i++) merges.push([tokens[i]![0]!, tokens[i]!.slice(1)]);
    merges.push(merges[5]!);
    const keys = [
      key("tokenizer.ggml.model", SCALAR.string, text("gpt2")),
      key("tokenizer.ggml.pre", SCALAR.string, text("gpt-2")),
      key("tokenizer.ggml.tokens", 9, array(SCALAR.string, tokens.length, joined(tokens))),
      key(
        "tokenizer.ggml.merges",
        9,
        array(SCALAR.string, merges.length, joined(merges.map((pair) => pair.join(" ")))),
      ),
    ];
    const tokenizer = await Tokenizer.load(temporaryFile(gguf({ keys }), "merges.gguf"));
    const ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    for (const sample of samples(letters.slice(0, 26))) {
      const expected = naivelyMerged(sample, (left, right) => ranks.get(`${left} ${right}`));
      expect([...tokenizer.encode(sample)].map((id) => tokens[id])).toEqual(expected);
    }
  });
});

/** Returns strings in GGUF's layout: each has its length as a u64 before it. */
function joined(strings: readonly string[]): Buffer {
  const block = Buffer.alloc(strings.reduce((sum, one) => sum + 8 + 3 * one.length, 0));
  let at = 0;
  for (const one of strings) {
    const length = block.write(one, at + 8);
    block.writeUInt32LE(length, at);
    at += 8 + length;
  }
  return block.subarray(0, at);
}

/** The character that represents a byte in byte-level vocabularies. */
function byteCharacter(byte: number): string {
  const isShown = (code: number) => (code > 32 && code < 127) || (code > 160 && code !== 173);
  if (isShown(byte)) return String.fromCharCode(byte);
  const before = Array.from({ length: byte }, (_, code) => code).filter((code) => !isShown(code)).length;
  return String.fromCharCode(256 + before);
}

/** Returns 40 random words of the letters. */
function samples(letters: readonly string[]): string[] {
  return fc.sample(fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 90 }), {
    numRuns: 40,
    seed: 7,
  });
}

/** Byte pair encoding without tables: repeatedly merges the pair of the lowest rank, the leftmost if ranks are equal. */
function naivelyMerged(word: string, rankOf: (left: string, right: string) => number | undefined): string[] {
  const parts = [...word];
  for (;;) {
    let [best, place] = [Number.POSITIVE_INFINITY, -1];
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = rankOf(parts[i]!, parts[i + 1]!) ?? Number.POSITIVE_INFINITY;
      if (rank < best) [best, place] = [rank, i];
    }
    if (place < 0) return parts;
    parts.splice(place, 2, parts[place]! + parts[place + 1]!);
  }
}

describe("tokenizer.json read by native code", () => {
  it("keeps every bit of Unigram scores", () => {
    const score = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.integer(),
      fc.constantFrom(1e-310, -0, 5e-324),
    );
    fc.assert(
      fc.property(fc.array(score, { minLength: 1, maxLength: 20 }), fc.boolean(), (scores, exponents) => {
        const shown = (n: number) => (exponents ? n.toExponential() : JSON.stringify(n));
        const vocab = scores.map((n, i) => `["t${i}", ${shown(n)}]`).join(" ,");
        const native = binding.readJsonVocabulary(Buffer.from(`{"model": {"type": "Unigram", "vocab": [${vocab}]}}`));
        // If the standard library rejects subnormal numbers, the native reader leaves the file to JSON.parse.
        if (!native) return expect(scores.some((n) => n !== 0 && Math.abs(n) < 2.3e-308)).toBe(true);
        expect([...native.scores()]).toEqual(scores.map((n) => Number(shown(n))));
        expect(native.tokens()).toEqual(scores.map((_, i) => `t${i}`));
        expect(native.rest).toBe('{"model": {"type": "Unigram", "vocab": []}}');
      }),
    );
  });

  it.each(["01", "1.", ".5", "+1", "1e", "-", "NaN", "Infinity", "0x1", "1e999"])(
    "leaves the score %s to JSON.parse",
    (score) => {
      expect(binding.readJsonVocabulary(Buffer.from(`{"model":{"vocab":[["a",${score}]]}}`))).toBeUndefined();
    },
  );

  const parts = {
    normalizer: null,
    pre_tokenizer: { type: "Whitespace" },
    post_processor: null,
    decoder: null,
    added_tokens: [],
  };
  const vocab = { "[UNK]": 0, a: 1, "##b": 2, b: 3 };
  it.each([
    ["WordPiece", { type: "WordPiece", vocab, unk_token: "[UNK]" }],
    ["WordLevel", { type: "WordLevel", vocab, unk_token: "[UNK]" }],
    [
      "Unigram",
      {
        type: "Unigram",
        vocab: [
          ["[UNK]", 0],
          ["a", -1.5],
          ["b", -0.1],
        ],
        unk_id: 0,
      },
    ],
  ])("gives the ids, names and files of the JavaScript reader: %s", (_, model) => {
    const json = JSON.stringify({ ...parts, model });
    // A lone surrogate in an unused part forces JSON.parse.
    const withSurrogate = json.replace("{", '{"x":"\ud800",');
    const reader = vi.spyOn(binding, "readJsonVocabulary");
    const native = Tokenizer.fromFiles({ tokenizer: json });
    expect(reader.mock.results.map(({ value }) => value !== undefined)).toEqual([true]);
    const parsed = Tokenizer.fromFiles({ tokenizer: withSurrogate });
    expect(reader).toHaveBeenCalledTimes(1);
    reader.mockRestore();
    const tokens = Array.isArray(model.vocab)
      ? model.vocab.map(([token]) => token as string)
      : Object.keys(model.vocab);
    for (const tokenizer of [native, parsed]) {
      expect(tokenizer.vocabSize).toBe(tokens.length);
      expect(tokens.map((token) => tokenizer.tokenToId(token))).toEqual([...tokens.keys()]);
      expect([...tokens.keys()].map((id) => tokenizer.idToToken(id))).toEqual(tokens);
      expect(tokenizer.tokenToId("c")).toBeUndefined();
    }
    expect([...native.encode("ab a c")]).toEqual([...parsed.encode("ab a c")]);
    expect(native.files()).toEqual(parsed.files());
    expect(native.unkTokenId).toBe(0);
  });

  it("requires merges for BPE", () => {
    expect(() => Tokenizer.fromFiles({ tokenizer: '{"model":{"type":"BPE","vocab":{}}}' })).toThrow(
      "model.merges: expected an array",
    );
  });
});

// The official library encodes both tokens, and decodes the id to one of the two.
it.each([
  ["BPE", {}],
  ["BPE", { pre_tokenizer: { type: "ByteLevel", add_prefix_space: false } }],
  ["WordPiece", {}],
  ["WordLevel", {}],
])("two tokens of one id are rejected: %s %j", (type, more) => {
  const json = (b: number) => ({
    model: { type, vocab: { "<u>": 0, a: 1, b }, merges: [], unk_token: "<u>" },
    ...more,
  });
  expect(() => fromJson(json(1))).toThrow(
    expect.objectContaining({ code: "INVALID_FILE", message: "vocab: expected one token per id, got two of id 1" }),
  );
  expect(fromJson(json(2)).vocabSize).toBe(3);
});

describe("sparse ids", () => {
  it("are rejected if tables would be much larger than the file", () => {
    const vocab = (id: number) => ({ ...byteLevelJson([], {}, { vocab: { "!": id }, merges: [] }), added_tokens: [] });
    expect(() => fromJson(vocab(4_194_303))).toThrow(
      "vocab: expected ids up to 524288 for a vocabulary of size 1, got 4194303",
    );
    expect(fromJson(vocab(524_288)).vocabSize).toBe(524_289);
    const added = { ...vocab(0), added_tokens: [{ id: 4_000_000, content: "<x>", special: true }] };
    expect(() => fromJson(added)).toThrow("vocab: expected ids up to 524288 for a vocabulary of size 2, got 4000000");
  });
});
