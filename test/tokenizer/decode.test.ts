import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { added, byteLevel, byteLevelJson, fromJson, llamaDecoder, sentencePieceJson } from "./samples.ts";

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const bytesOnly = fromJson(byteLevelJson([], { added_tokens: [added(256, "<|end|>")] }));
const pieces = fromJson(sentencePieceJson(["▁", "a", "▁a", "日"], [["▁", "a"]]));

describe("decode", () => {
  it("replaces malformed UTF-8 as the WHATWG specifies", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(bytesOnly.decode(bytes)).toBe(utf8.decode(bytes));
      }),
      { numRuns: 1000 },
    );
    const lead = fc.constantFrom(0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf8, 0xa0, 0x9f, 0x90, 0x8f);
    fc.assert(
      fc.property(fc.array(lead, { maxLength: 12 }), (bytes) => {
        expect(bytesOnly.decode(bytes)).toBe(utf8.decode(Uint8Array.from(bytes)));
      }),
      { numRuns: 2000 },
    );
  });

  it("accepts any iterable of numbers and skips unknown ids", () => {
    expect(bytesOnly.decode([0x68, 0x69])).toBe("hi");
    expect(bytesOnly.decode(new Set([0x68, 0x69]))).toBe("hi");
    expect(bytesOnly.decode(Int32Array.of(0x68, 1_000_000, 0x69))).toBe("hi");
    expect(bytesOnly.decode([])).toBe("");
  });

  it("skips special tokens on request", () => {
    expect(bytesOnly.decode([0x68, 256, 0x69])).toBe("h<|end|>i");
    expect(bytesOnly.decode([0x68, 256, 0x69], { skipSpecialTokens: true })).toBe("hi");
  });

  it("maps between ids and tokens", () => {
    expect(bytesOnly.idToToken(0x20)).toBe("Ġ");
    expect(bytesOnly.tokenToId("Ġ")).toBe(0x20);
    expect(bytesOnly.tokenToId("<|end|>")).toBe(256);
    expect(bytesOnly.idToToken(257)).toBeUndefined();
    expect(bytesOnly.tokenToId("__proto__")).toBeUndefined();
    expect([...bytesOnly.tokenBytes(0x20)]).toEqual([0x20]);
    expect([...pieces.tokenBytes(3 + 0x0a)]).toEqual([0x0a]);
    expect(Buffer.from(pieces.tokenBytes(pieces.tokenToId("▁a")!)).toString()).toBe(" a");
    expect(bytesOnly.vocabSize).toBe(257);
    expect([...bytesOnly.specialTokens]).toEqual([["<|end|>", 256]]);
  });
});

/** The text that a streaming decoder emits for each id, then the text of its flush. */
const texts = (decoder: ReturnType<typeof bytesOnly.decoder>, ids: Iterable<number>) => {
  const out: string[] = [];
  for (const id of ids) out.push(decoder.push(id));
  return [...out, decoder.flush()];
};

describe("decoder", () => {
  it("emits each character once it is complete", () => {
    const parts = ["a", "", "é", "", "", "日", "", "", "", "🎉", ""];
    expect(texts(bytesOnly.decoder(), Buffer.from("aé日🎉"))).toEqual(parts);
    expect(texts(bytesOnly.decoder(), [0xe6, 0x97])).toEqual(["", "", "\ufffd"]);
    expect(texts(bytesOnly.decoder(), [0xe6, 0x97, 0x41])).toEqual(["", "", "\ufffdA", ""]);
  });

  it("emits parts that concatenate to the result of decode, and never splits a character", () => {
    for (const [tokenizer, byte0] of [
      [bytesOnly, 0],
      [pieces, 3], // after <unk>, <s> and </s>
    ] as const) {
      const parts = [...Buffer.from("日🎉é")].map((byte) => byte0 + byte);
      const id = fc.oneof(fc.nat(tokenizer.vocabSize), fc.constantFrom(...parts));
      for (const skipSpecialTokens of [true, false]) {
        fc.assert(
          fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
            const pushed = texts(tokenizer.decoder({ skipSpecialTokens }), ids);
            expect(pushed.join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
            for (const part of pushed) expect(part.isWellFormed()).toBe(true);
          }),
          { numRuns: 500 },
        );
      }
    }
  });

  it("continues after ids already shown, without stripping another space", () => {
    const a = pieces.tokenToId("▁a")!;
    expect(pieces.decode([a, a])).toBe("a a");
    expect(pieces.decoder().push(a)).toBe("a");
    expect(pieces.decoder({ after: [a] }).push(a)).toBe(" a");
    const half = bytesOnly.decoder({ after: [0xe6, 0x97] });
    expect(half.push(0xa5)).toBe("日");
  });

  it("holds back a run of byte tokens until it ends", () => {
    const decoder = pieces.decoder();
    expect([...Buffer.from("é")].map((byte) => decoder.push(3 + byte))).toEqual(["", ""]);
    expect(decoder.push(pieces.tokenToId("a")!)).toBe("éa");
  });
});

describe("decoders implemented in TypeScript", () => {
  const withDecoder = (decoder: unknown) =>
    fromJson(sentencePieceJson(["▁", "a", "▁a", "x▁y"], [["▁", "a"]], { decoder }));
  const ids = (tokenizer: ReturnType<typeof fromJson>, ...tokens: string[]) =>
    tokens.map((token) => tokenizer.tokenToId(token)!);

  it("strip the leading mark of the first token with Metaspace, unless the prepend scheme is never", () => {
    const always = withDecoder({ type: "Metaspace", replacement: "▁", prepend_scheme: "always" });
    expect(always.decode(ids(always, "▁a", "▁a"))).toBe("a a");
    const never = withDecoder({ type: "Metaspace", replacement: "▁", prepend_scheme: "never" });
    expect(never.decode(ids(never, "▁a", "▁a"))).toBe(" a a");
  });

  it("join tokens by spaces if no decoder is configured", () => {
    const none = withDecoder(null);
    expect(none.decode(ids(none, "a", "▁a"))).toBe("a ▁a");
  });

  it("strip both ends of each token if no Fuse precedes", () => {
    const strip = withDecoder({ type: "Sequence", decoders: [{ type: "Strip", content: "▁", start: 1, stop: 1 }] });
    expect(strip.decode(ids(strip, "▁a", "▁", "x▁y"))).toBe("ax▁y");
  });

  it("stream the same text as decode", () => {
    const [fuse, strip] = [{ type: "Fuse" }, { type: "Strip", content: " ", start: 1, stop: 0 }];
    const replace = { type: "Replace", pattern: { Regex: "▁" }, content: " " };
    // Equivalent to llamaDecoder, but in a form that native code does not recognize.
    const spelled = withDecoder({ type: "Sequence", decoders: [replace, { type: "ByteFallback" }, fuse, strip] });
    const native = withDecoder(llamaDecoder);
    const id = fc.oneof(fc.nat(262), fc.constantFrom(...Buffer.from("日🎉é").map((byte) => 3 + byte)));
    fc.assert(
      fc.property(fc.array(id, { maxLength: 20 }), (all) => {
        expect(spelled.decode(all)).toBe(native.decode(all));
        expect(texts(spelled.decoder(), all).join("")).toBe(spelled.decode(all));
      }),
    );
    const text = "a 日a🎉 a";
    const all = spelled.encode(text, { addSpecialTokens: false, allowSpecial: true });
    expect(texts(spelled.decoder(), all).join("")).toBe(text);
  });

  it("decode bytes as TextDecoder does", () => {
    const spelled = fromJson(
      byteLevelJson([], { decoder: { type: "Sequence", decoders: [byteLevel, { type: "Fuse" }] } }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
        expect(spelled.decode(bytes)).toBe(utf8.decode(bytes));
      }),
    );
  });
});
