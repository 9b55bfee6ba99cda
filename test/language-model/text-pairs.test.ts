// Pairs that share a text, and texts that cannot fit the context, take little work and memory.
import { beforeAll, expect, test, vi } from "vitest";
import { pairIds } from "../../lib/language-model/embed/text-pairs.ts";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { truncate } from "../../lib/tokenizer/truncation.ts";
import { failureOf, tinyTokenizer } from "../inference/helpers.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await tinyTokenizer();
});

const contextLength = 64;
const MOST = 128 * contextLength;
const long = "the sea ".repeat(MOST / 8);

/** Returns the result of `work`, and the number of characters that are encoded meanwhile. */
async function encodedBy<T>(work: () => Promise<T>): Promise<{ result: T; characters: number }> {
  const encode = vi.spyOn(tokenizer, "encodeBatch");
  try {
    const result = await work();
    const characters = encode.mock.calls.flatMap(([texts]) => texts).reduce((sum, { length }) => sum + length, 0);
    return { result, characters };
  } finally {
    encode.mockRestore();
  }
}

const encode = (query: string, documents: readonly string[], truncation: boolean) =>
  pairIds(
    documents.map((textPair) => ({ text: query, textPair })),
    { tokenizer, contextLength },
    { truncation },
  );

test("a query that is paired with many documents is encoded once", async () => {
  const { result, characters } = await encodedBy(() => encode(long, ["a", "a house", "a"], true));
  expect(characters).toBe(long.length + "a".length + "a house".length);
  const alone = await Promise.all(["a", "a house", "a"].map((document) => encode(long, [document], true)));
  expect(result.ids).toEqual(alone.map(({ ids }) => ids[0]));
  expect(result.typeIds).toEqual(alone.map(({ typeIds }) => typeIds[0]));
});

test("a text that is too long for the context is cut before it is encoded, with the same result", async () => {
  const longer = `${long}${"😀".repeat(1000)}`;
  const { result, characters } = await encodedBy(() => encode(longer, ["a", longer], true));
  expect(characters).toBe(MOST + 1);
  const [pair, both] = [await encode(long, ["a"], true), await encode(long, [long], true)];
  expect(result.ids).toEqual([pair.ids[0], both.ids[0]]);
  // An emoji at the cut is removed whole.
  expect((await encodedBy(() => encode(`x${"😀".repeat(MOST)}`, ["a"], true))).characters).toBe(MOST);
});

test("a text that is too long for the context is refused before it is encoded", async () => {
  const { result, characters } = await encodedBy(() => failureOf(() => encode(`${long}.`, ["a"], false)));
  expect(result).toMatchObject({
    code: "CONTEXT_OVERFLOW",
    message: expect.stringMatching(/more than 8192 characters/),
  });
  expect(characters).toBe(0);
});

test("the refusal of a pair names its number of tokens, although only one more than fits is copied", async () => {
  const build = vi.spyOn(tokenizer, "encodeInputs");
  const { message } = await failureOf(() => encode(long, ["a", "a house"], false));
  const { ids } = tokenizer.encodePair(long, "a");
  expect(message).toBe(
    `text[0]: expected at most 64 tokens, the context length, got ${ids.length} (truncation: true cuts it)`,
  );
  const inputs = await build.mock.results[0]!.value;
  expect(inputs.map((input: { ids: Uint32Array }) => input.ids.length)).toEqual([65, 65]);
  build.mockRestore();
});

test("the parts of a text that truncation cuts off are created on demand only", () => {
  const views = vi.spyOn(Uint32Array.prototype, "subarray");
  try {
    const { kept, overflowing } = truncate([new Uint32Array(10_000)], { maxLength: 10 }, 10);
    expect(kept.map(({ length }) => length)).toEqual([10]);
    expect(views.mock.calls.length).toBe(1);
    expect(overflowing()).toHaveLength(999);
  } finally {
    views.mockRestore();
  }
});

test("each copy of a text has its own dropout", async () => {
  const options = { dropout: 0.5, seed: 1, padding: false } as const;
  const inputs = await tokenizer.encodeInputs(Array(8).fill("the sea saw the house"), options);
  expect(new Set(inputs.map(({ ids }) => ids.join())).size).toBeGreaterThan(1);
});
