// The mask of a vocabulary allows the same tokens as a check of each token alone.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Automaton, Constraint, compileRegex, compileSchema, type Mask } from "../../lib/constrain/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { failureOf, tinyTokenizer } from "../inference/helpers.ts";

const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const pieces = [
  "▁",
  "▁the",
  "▁{",
  "{",
  "}",
  '"',
  '":',
  ":",
  ",",
  "▁true",
  "true",
  "日",
  "本",
  "é",
  "a",
  "b",
  "ab",
  '"a',
  "\n",
  "1",
  "12",
  "▁1",
];

/** A SentencePiece-like vocabulary with byte fallback, whose decoder strips the first space. */
function byteFallback(decoder: object[] = [{ type: "Strip", content: " ", start: 1, stop: 0 }]): Tokenizer {
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...pieces];
  const special = (id: number) => ({ id, content: tokens[id], special: true, normalized: false });
  return Tokenizer.fromFiles({
    tokenizer: JSON.stringify({
      added_tokens: [special(0), special(1), special(2)],
      normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...decoder,
        ],
      },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
        merges: [],
        byte_fallback: true,
        unk_token: "<unk>",
      },
    }),
    config: JSON.stringify({ eos_token: "</s>" }),
  } as never);
}

const tokenizers: [string, () => Tokenizer | Promise<Tokenizer>][] = [
  ["bytes", tinyTokenizer],
  ["byte fallback", () => byteFallback()],
];
for (const name of ["tokenizers/gpt2", "tokenizers/llama2", "stories260K"])
  if (fixtures && existsSync(join(fixtures, name, "tokenizer.json")))
    tokenizers.push([name, () => Tokenizer.load(join(fixtures!, name))]);

const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 3 }, ok: { type: "boolean" } },
  additionalProperties: { type: "number" },
};
const states: [string, () => Automaton, string | Uint8Array][] = [
  ["at the start of any value", () => new Automaton(compileSchema(true)), ""],
  ["in a string", () => new Automaton(compileSchema({ type: "string" })), '"a'],
  ["after a backslash", () => new Automaton(compileSchema({ type: "string" })), '"\\'],
  ["after the first half of a surrogate pair", () => new Automaton(compileSchema({ type: "string" })), '"\\ud83d'],
  [
    "in the middle of a character",
    () => new Automaton(compileSchema({ type: "string" })),
    Buffer.from('"日').subarray(0, 3),
  ],
  ["in a string of limited length", () => new Automaton(compileSchema(person)), '{"name":"a'],
  ["in a string at its maximum length", () => new Automaton(compileSchema(person)), '{"name":"abc'],
  ["at the start of a name", () => new Automaton(compileSchema(person)), '{"'],
  ["in the beginning of a known name", () => new Automaton(compileSchema(person)), '{"na'],
  ["in an unknown name", () => new Automaton(compileSchema(person)), '{"x'],
  ["in a number", () => new Automaton(compileSchema(person)), '{"x":1'],
  ["in whitespace", () => new Automaton(compileSchema(person)), '{"x":1\n  '],
  ["in a string with a pattern", () => new Automaton(compileSchema({ type: "string", pattern: "é|[ab]+$" })), '"a'],
  ["in an integer", () => new Automaton(compileSchema({ type: "integer" })), "12"],
  ["in the text of a regular expression", () => new Automaton(compileRegex("(?:.|\\n)*")), "a"],
];

const allowedOf = (mask: Mask, size: number): Set<number> => {
  if ("allowed" in mask) return new Set(mask.allowed);
  const out = new Set(Array.from({ length: size }, (_, id) => id));
  for (const id of mask.forbidden) out.delete(id);
  return out;
};

describe.each(tokenizers)("the mask of a vocabulary of %s", (_name, make) => {
  test.each(states)("has exactly the tokens that can continue the text: %s", async (_state, automatonOf, before) => {
    const tokenizer = await make();
    const automaton = automatonOf();
    const ends = new Set(tokenizer.eosTokenIds);
    // Models may have more embedding rows than their tokenizer has tokens.
    const vocabSize = tokenizer.vocabSize + 3;
    const constraint = new Constraint(automaton, { tokens: tokenizer, vocabSize, ends });
    // Feed the text as single-byte tokens.
    const byteTokens = new Map<number, number>();
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      const of = tokenizer.tokenBytes(id);
      if (of.length === 1 && !tokenizer.addedTokens.some((t) => t.id === id)) byteTokens.set(of[0]!, id);
    }
    const path = [...Buffer.from(before as string)].map((byte) => byteTokens.get(byte)!);
    const mask = allowedOf((await constraint.mask(path))!, vocabSize);
    const state = automaton.read(automaton.start, Buffer.from(before as string))!;
    const added = new Set(tokenizer.addedTokens.map(({ id }) => id));
    const wrong: number[] = [];
    for (let id = 0; id < vocabSize; id++) {
      const of = id < tokenizer.vocabSize ? tokenizer.tokenBytes(id) : new Uint8Array();
      const may = ends.has(id) ? state.whole : !added.has(id) && of.length > 0 && automaton.read(state, of) !== null;
      if (may !== mask.has(id)) wrong.push(id);
    }
    expect(wrong).toEqual([]);
    expect(mask.size).toBeGreaterThan(0);
    // The mask is the same after accepting tokens one by one.
    for (const token of path) {
      await constraint.mask();
      constraint.accept(token);
    }
    expect(allowedOf((await constraint.mask())!, vocabSize)).toEqual(mask);
  });
});

test("rejects a decoder whose text of a token depends on the neighboring tokens", () => {
  const tokenizer = byteFallback([{ type: "Strip", content: " ", start: 2, stop: 0 }]);
  const automaton = new Automaton(compileSchema(true));
  expect(() => new Constraint(automaton, { tokens: tokenizer, vocabSize: 10, ends: new Set() })).toThrow(
    "responseFormat: a tokenizer whose decoder changes tokens by their neighbors",
  );
});

test("the mask throws if no token can continue, and is undefined after a finished document", async () => {
  const texts = ["a", "b", "bc"].map((text) => Buffer.from(text));
  const tokens = { vocabSize: 3, addedTokens: [], joinsBytes: true, tokenBytes: (id: number) => texts[id]! };
  const of = (pattern: string) =>
    new Constraint(new Automaton(compileRegex(pattern)), { tokens, vocabSize: 3, ends: new Set() });
  const stuck = of("ax");
  expect(await stuck.mask()).toEqual({ allowed: Int32Array.of(0) });
  expect((await failureOf(() => stuck.mask([0]))).message).toContain(
    "no token of the vocabulary can continue the document",
  );
  const done = of("abc?");
  await done.mask();
  done.accept(0);
  expect(await done.mask()).toEqual({ forbidden: Int32Array.of(0) });
  expect(await done.possible([1, 2])).toEqual([1]);
  expect(await done.possible([2, 1])).toEqual([]);
  done.accept(2);
  expect(done.finished).toBe(true);
  expect(await done.mask()).toBeUndefined();
});

test("computing the mask of a large vocabulary does not block the event loop", async () => {
  const words = Array.from({ length: 60_000 }, (_, i) => Buffer.from(i.toString(36)));
  const tokens = { vocabSize: words.length, addedTokens: [], joinsBytes: true, tokenBytes: (id: number) => words[id]! };
  const constraint = new Constraint(new Automaton(compileRegex("(?:[a-z]|[0-9])*")), {
    tokens,
    vocabSize: words.length,
    ends: new Set(),
  });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await constraint.mask();
  clearInterval(timer);
  expect(turns).toBeGreaterThan(2);
});

test("masks that concurrent calls compute at the same time count once towards the limit of the cache", async () => {
  const vocabSize = 400_000;
  const tokens = {
    vocabSize,
    addedTokens: [],
    joinsBytes: true,
    tokenBytes: (id: number) => Buffer.from(id.toString(26).padStart(4, "0")),
  };
  // About half of the vocabulary is allowed, so a mask has some 200,000 ids.
  const automaton = new Automaton(compileRegex("[^mnop]{1,1000}"));
  const begun = () => new Constraint(automaton, { tokens, vocabSize, ends: new Set() });
  await Promise.all(Array.from({ length: 30 }, () => begun().mask()));
  const first = await begun().mask();
  const later = begun();
  await later.prepare();
  later.accept(1);
  await later.mask();
  expect(await begun().mask()).toBe(first);
});
