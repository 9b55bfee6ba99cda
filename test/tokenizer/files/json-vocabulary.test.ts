// The native reader of a tokenizer.json's vocabulary and merges gives what JSON.parse gives, or returns undefined.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binding } from "../../../lib/binding/index.ts";

const read = (json: string) => binding.readJsonVocabulary(Buffer.from(json));
/** Texts of tokens, among them quotes, control characters and characters outside ASCII. */
const token = fc.oneof(
  fc.string({ unit: "binary", minLength: 1 }),
  fc.constantFrom('"', "\\", "\n", "\u0000", "é", "👍", "0", "Ġa"),
);
const part = token.map((text) => text.replaceAll(" ", "_"));
const escaped = (json: string) =>
  json.replace(/[^\0-\x7e]/gu, (c) =>
    [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );

describe("readJsonVocabulary", () => {
  it("gives what JSON.parse gives, or leaves files with surrogates or __proto__ to JSON.parse", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(token, { maxLength: 20 }),
        fc.array(fc.tuple(part, part), { maxLength: 20 }),
        fc.anything({ maxDepth: 2 }),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom(0, 1, 2),
        (tokens, merges, other, asPairs, asEscapes, indent) => {
          const vocab = tokens.map((text, id): [string, number] => [text, id * 7]);
          const object = Object.fromEntries(vocab);
          const model = {
            a: other,
            vocab: object,
            b: [other],
            merges: merges.map((m) => (asPairs ? m : m.join(" "))),
            c: 0,
          };
          const plain = JSON.stringify(
            { x: other, model, y: other },
            (_, v) => (typeof v === "bigint" ? 0 : v),
            indent,
          );
          const json = asEscapes ? escaped(plain) : plain;
          const found = read(json);
          if (!json.isWellFormed() || /\\ud[89a-f]/iu.test(json) || Object.hasOwn(object, "__proto__")) {
            if (found === undefined) return;
          }
          expect(found).toBeDefined();
          const parsed = JSON.parse(json) as { model: typeof model };
          expect(JSON.parse(found!.rest)).toEqual({ ...parsed, model: { ...parsed.model, vocab: {}, merges: [] } });
          const ids = found!.ids();
          const entries = found!.tokens().map((text, i) => [text, ids[i]] as [string, number]);
          expect(Object.fromEntries(entries)).toEqual(parsed.model.vocab);
          for (const [text, id] of entries) expect(found!.find(text)).toBe(id);
          expect(found!.find("not there at all")).toBeUndefined();
          expect(found!.merges()).toEqual(merges.flat().map((text) => text.toWellFormed()));
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ["an array instead of an object", "[]"],
    ["a missing vocabulary", '{"model":{"merges":[]}}'],
    ["a duplicate token", '{"model":{"vocab":{"a":0,"a":1},"merges":[]}}'],
    ["two models", '{"model":{"vocab":{},"merges":[]},"model":{"vocab":{},"merges":[]}}'],
    ["a fractional id", '{"model":{"vocab":{"a":1.5},"merges":[]}}'],
    ["an id with an exponent", '{"model":{"vocab":{"a":1e3},"merges":[]}}'],
    ["a negative id", '{"model":{"vocab":{"a":-1},"merges":[]}}'],
    ["an id out of range", '{"model":{"vocab":{"a":4194304},"merges":[]}}'],
    ["a merge of one part", '{"model":{"vocab":{},"merges":["a"]}}'],
    ["a merge string of three parts", '{"model":{"vocab":{},"merges":["a b c"]}}'],
    ["a merge array of three parts", '{"model":{"vocab":{},"merges":[["a","b","c"]]}}'],
    ["a lone surrogate", '{"model":{"vocab":{"\\ud800":0},"merges":[]}}'],
    ["a control character", '{"model":{"vocab":{"\n":0},"merges":[]}}'],
    ["a truncated file", '{"model":{"vocab":{"a":0'],
    ["an invalid escape sequence", '{"model":{"vocab":{"\\x":0},"merges":[]}}'],
    ["a trailing comma", '{"model":{"vocab":{"a":0,},"merges":[]}}'],
    ["65 nested arrays and objects", `{"model":{"vocab":{},"merges":[]},"x":${"[".repeat(64)}${"]".repeat(64)}}`],
    ["more than a million keys and values", `{"model":{"vocab":{},"merges":[]}${',"x":0'.repeat(1 << 19)}}`],
  ])("leaves %s to JSON.parse", (_, json) => {
    expect(read(json)).toBeUndefined();
  });

  it("reads files with 64 nested arrays and objects", () => {
    const deepest = `${"[".repeat(63)}${"]".repeat(63)}`;
    expect(read(`{"model":{"vocab":{},"merges":[]},"x":${deepest}}`)?.rest).toContain(deepest);
  });

  it("accepts any bytes without crashing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(40), (bytes, at) => {
        const json = Buffer.from('{"model":{"vocab":{"a":0,"b":1},"merges":["a b"]},"x":[{"y":"z"}]}');
        json.set(bytes.subarray(0, Math.min(bytes.length, json.length - at)), at);
        const found = binding.readJsonVocabulary(json);
        expect(found === undefined || typeof found.rest === "string").toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
