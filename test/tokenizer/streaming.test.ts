// Text decoded id by id equals the text of all ids, from any starting point.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { added, byteLevel, byteLevelJson, byteNames, fromJson, llamaDecoder, sentencePieceJson } from "./samples.ts";

const words = [
  "▁",
  "▁a",
  "▁b",
  "a",
  "b",
  "ab",
  "x▁y",
  "##ing",
  "##",
  "##▁",
  " ",
  "  ",
  ".",
  " .",
  " n",
  "'t",
  "n't",
  "do",
];
const marks = [
  "a</w>",
  "</w>",
  "</",
  "w>",
  "|",
  "a|b",
  "<pad>",
  "<pa",
  "d>",
  "'",
  " '",
  "not",
  " not",
  "s",
  "日",
  "é",
  "�",
];
const names = ["Ġ", "Ġa", "æĹ", "¥", byteNames[0xf0]!, byteNames[0x9f]!, byteNames[0xa6]!, byteNames[0x99]!];
const pieces = [...words, ...marks, ...names];
const firstPiece = 259;

const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always" };
const wordPiece = { type: "WordPiece", prefix: "##", cleanup: true };
const bpe = { type: "BPEDecoder", suffix: "</w>" };
const ctc = { type: "CTC", pad_token: "<pad>", word_delimiter_token: "|", cleanup: true };
const [fuse, bytes] = [{ type: "Fuse" }, { type: "ByteFallback" }];
const strip = (start: number, stop: number) => ({ type: "Strip", content: " ", start, stop });
const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });
const markToSpace = replace({ String: "▁" }, " ");
const sequence = (...decoders: object[]) => ({ type: "Sequence", decoders });

const decoders: Record<string, object | null> = {
  none: null,
  ByteLevel: byteLevel,
  "ByteLevel, Fuse": sequence(byteLevel, fuse),
  "ByteLevel, Strip": sequence(byteLevel, strip(1, 2)),
  Metaspace: metaspace,
  "Metaspace without prepending": { ...metaspace, prepend_scheme: "never" },
  WordPiece: wordPiece,
  "WordPiece without clean-up": { ...wordPiece, cleanup: false },
  BPEDecoder: bpe,
  CTC: ctc,
  "CTC without clean-up": { ...ctc, cleanup: false },
  ByteFallback: bytes,
  "byte fallback": llamaDecoder,
  "byte fallback without stripping": sequence(markToSpace, bytes, fuse),
  "byte fallback with a regex for spaces": sequence(replace({ Regex: "▁" }, " "), bytes, fuse, strip(1, 0)),
  "ByteFallback, Metaspace": sequence(bytes, metaspace),
  "ByteFallback, WordPiece": sequence(bytes, wordPiece),
  "ByteFallback, BPEDecoder": sequence(bytes, bpe),
  Fuse: fuse,
  Strip: strip(1, 1),
  "Fuse, Strip": sequence(fuse, strip(2, 2)),
  "Fuse, Replace that overlaps itself": sequence(fuse, replace({ String: "  " }, " ")),
  "Fuse, Replace that grows": sequence(fuse, replace({ String: "ab" }, "ba ba")),
  "Fuse, Replace by a pattern": sequence(fuse, replace({ Regex: "a+b?" }, "x")),
  "Fuse, Metaspace": sequence(fuse, metaspace),
  "Fuse, WordPiece": sequence(fuse, wordPiece),
  "Fuse, BPEDecoder": sequence(fuse, bpe),
  "Fuse, CTC": sequence(fuse, ctc),
  "Fuse, ByteFallback": sequence(fuse, bytes),
  "Fuse, ByteLevel": sequence(fuse, byteLevel),
  "Replace in each token": replace({ Regex: "a|▁" }, "_"),
};

const specials = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")];
const tokenizerOf = (decoder: object | null): Tokenizer =>
  fromJson(sentencePieceJson(pieces, [], { decoder, added_tokens: specials }));

/** Ids of pieces, and of single bytes that occur in multi-byte characters. */
const piece = fc.nat(pieces.length - 1).map((index) => firstPiece + index);
const character = fc.constantFrom(...Buffer.from("🦙日éa")).map((byte) => 3 + byte);
const anyId = fc.oneof(
  { weight: 6, arbitrary: piece },
  { weight: 6, arbitrary: character },
  { weight: 1, arbitrary: fc.nat(260) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 2, 100_000) },
);
const character4 = fc.constant([...Buffer.from("🦙")].map((byte) => 3 + byte));
const anyIds = fc
  .array(fc.oneof({ weight: 6, arbitrary: anyId.map((id) => [id]) }, { weight: 1, arbitrary: character4 }), {
    maxLength: 24,
  })
  .map((lists) => lists.flat());

function stream(tokenizer: Tokenizer, ids: readonly number[], split: number, skipSpecialTokens: boolean): string[] {
  const decoder = tokenizer.decoder({ skipSpecialTokens, after: ids.slice(0, split) });
  return [...ids.slice(split).map((id) => decoder.push(id)), decoder.flush()];
}

/** Checks what must hold for any decoder, and counts how often the text before a split is a prefix of the whole text. */
function checkSplits(tokenizer: Tokenizer, ids: readonly number[], count: { all: number; exact: number }): void {
  for (const skipSpecialTokens of [false, true]) {
    const all = tokenizer.decode(ids, { skipSpecialTokens });
    for (let split = 0; split <= ids.length; split++) {
      const shown = tokenizer.decode(ids.slice(0, split), { skipSpecialTokens });
      const parts = stream(tokenizer, ids, split, skipSpecialTokens);
      const streamed = parts.join("");
      const what = JSON.stringify({ split, skipSpecialTokens, shown, all });
      for (const part of parts) expect(part.isWellFormed(), what).toBe(true);
      count.all++;
      if (all.startsWith(shown)) {
        count.exact++;
        expect(shown + streamed, what).toBe(all);
      } else {
        // Later ids changed the end of the text shown so far.
        expect(all.endsWith(streamed), `${what} ${JSON.stringify(streamed)}`).toBe(true);
      }
    }
  }
}

describe("a decoder that continues after ids", () => {
  for (const [name, decoder] of Object.entries(decoders)) {
    it(`emits the text that the later ids add, at every split (${name})`, () => {
      const tokenizer = tokenizerOf(decoder);
      const count = { all: 0, exact: 0 };
      fc.assert(
        fc.property(anyIds, (ids) => checkSplits(tokenizer, ids, count)),
        { numRuns: 60 },
      );
      expect(count.exact).toBeGreaterThan(count.all / 4);
    });
  }

  it("emits the text that the later ids add, at every split (a byte-level vocabulary)", () => {
    const tokenizer = fromJson(
      byteLevelJson(
        [
          ["æ", "Ĺ"],
          ["a", "æĹ"],
          ["¥", "a"],
        ],
        { added_tokens: [added(259, "<s>")] },
      ),
    );
    const id = fc.oneof(fc.nat(260), fc.constantFrom(...Buffer.from("🦙日é"), 256, 257, 258));
    const count = { all: 0, exact: 0 };
    fc.assert(fc.property(fc.array(id, { maxLength: 16 }), (ids) => checkSplits(tokenizer, ids, count)));
    expect(count.exact).toBeGreaterThan(count.all / 2);
  });

  it("does not repeat a prompt's last bytes", () => {
    const tokenizer = tokenizerOf(llamaDecoder);
    const bytes = [...Buffer.from("🦙")].map((byte) => 3 + byte);
    const a = tokenizer.tokenToId("a")!;
    const decoder = tokenizer.decoder({ after: [a, ...bytes] });
    expect(decoder.push(a) + decoder.flush()).toBe("a");
    // With one byte too many, decode turns all five into U+FFFD. Four of them belong to the prompt.
    const malformed = tokenizer.decoder({ after: [a, ...bytes] });
    expect([malformed.push(3 + 0xff), malformed.push(a), malformed.flush()]).toEqual(["", "\ufffda", ""]);
    // The answer completes a character of which the prompt has two bytes.
    const completed = tokenizer.decoder({ after: [a, ...bytes.slice(0, 2)] });
    expect([...bytes.slice(2).map((id) => completed.push(id)), completed.push(a)]).toEqual(["", "", "🦙a"]);
  });

  it("looks back over a whole run of byte tokens", () => {
    const tokenizer = tokenizerOf(llamaDecoder);
    const prompt = [tokenizer.tokenToId("a")!, ...[...Buffer.from("日".repeat(500))].map((byte) => 3 + byte)];
    const decoder = tokenizer.decoder({ after: prompt });
    for (const byte of Buffer.from("é")) expect(decoder.push(3 + byte)).toBe("");
    expect(decoder.flush()).toBe("é");
  });

  it("strips the first space only after a prompt without text", () => {
    const tokenizer = tokenizerOf(llamaDecoder);
    const [space, bos] = [tokenizer.tokenToId("▁a")!, 1];
    const skipping = { skipSpecialTokens: true };
    expect(tokenizer.decoder({ ...skipping, after: Array(100).fill(bos) }).push(space)).toBe("a");
    expect(tokenizer.decoder({ ...skipping, after: [space, ...Array(100).fill(bos)] }).push(space)).toBe(" a");
    expect(tokenizer.decoder({ ...skipping, after: new Set([space]) }).push(space)).toBe(" a");
  });

  it("rejects invalid ids and names their index", () => {
    const tokenizer = tokenizerOf(llamaDecoder);
    expect(() => tokenizer.decoder({ after: [1, -1, 2] })).toThrow("after[1]: expected a token id");
    expect(() => tokenizer.decoder({ after: new DataView(new ArrayBuffer(4)) as never })).toThrow("after: expected");
  });
});

describe("a decoder that starts a text", () => {
  const withDecoder = (decoder: object) => tokenizerOf(decoder);
  const push = (decoder: object, ...tokens: string[]) => {
    const tokenizer = withDecoder(decoder);
    const stream = tokenizer.decoder();
    return [...tokens.map((token) => stream.push(tokenizer.tokenToId(token)!)), stream.flush()];
  };

  it("emits text as soon as it is certain", () => {
    expect(push(metaspace, "▁a", "▁b", "a")).toEqual(["a", " b", "a", ""]);
    expect(push(wordPiece, "a", "##ing", "b")).toEqual(["a", "ing", " b", ""]);
    expect(push(bpe, "a</w>", "b", "a</w>")).toEqual(["a", " b", "a", ""]);
    expect(push(ctc, "a", "a", "|", "b")).toEqual(["a", "", " ", "b", ""]);
    expect(push(sequence(fuse, strip(0, 1)), "a", " ", "b", " ")).toEqual(["a", "", " b", "", ""]);
    expect(push(sequence(fuse, replace({ String: "ab" }, "x")), "a", "a", "b", "a")).toEqual(["", "a", "x", "", "a"]);
  });
});
