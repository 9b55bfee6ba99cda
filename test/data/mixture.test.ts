import { describe, expect, it } from "vitest";
import { type MixtureOptions, openMixture } from "../../lib/data/mixture.ts";
import { byteTokenizer, temporaryFolder } from "./helpers.ts";

const { write } = temporaryFolder();
const many = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name} number ${i}.`);
const a = write("a.txt", many("a", 90).join("\n\n"));
const b = write(
  "b.jsonl",
  many("b", 40)
    .map((story) => JSON.stringify({ story }))
    .join("\n"),
);
const c = write("c.txt", many("c", 10).join("\n"));
const base: MixtureOptions = {
  parts: [
    { files: a, weight: 5 },
    { files: b, weight: 3, textField: "story" },
    { files: c, weight: 2, documentSeparator: "line" },
  ],
  tokenizer: byteTokenizer,
  maxSeqLength: 24,
  batchSize: 4,
  seed: 11,
};

describe.each(["concatenate", "bestFit"] as const)("openMixture, %s", (packing) => {
  const options = { ...base, packing };

  it("draws each row from one corpus by weight, and repeats small corpora", async () => {
    using corpus = await openMixture(options);
    const rows = { a: 0, b: 0, c: 0 };
    for (let i = 0; i < 500; i++) {
      const { tokens } = await corpus.next();
      for (let r = 0; r < 4; r++) {
        const names = new Set(byteTokenizer.decode(tokens.subarray(24 * r, 24 * r + 24)).match(/[abc](?= n)/g));
        expect(names.size).toBeLessThan(2);
        for (const name of names) rows[name as "a"]++;
      }
    }
    const total = rows.a + rows.b + rows.c;
    // Three standard deviations of 2000 draws.
    expect(Math.abs(rows.a / total - 0.5)).toBeLessThan(0.034);
    expect(Math.abs(rows.b / total - 0.3)).toBeLessThan(0.031);
    expect(Math.abs(rows.c / total - 0.2)).toBeLessThan(0.027);
  });

  it("resumes with exactly the following batches, and differs between seeds", async () => {
    using corpus = await openMixture(options);
    const states: string[] = [];
    const batches = [];
    for (let i = 0; i < 120; i++) {
      states.push(JSON.stringify(corpus.state()));
      batches.push(await corpus.next());
    }
    for (const at of [0, 1, 57, 110]) {
      using resumed = await openMixture(options);
      resumed.restore(JSON.parse(states[at]!));
      for (let i = at; i < at + 10; i++) expect(await resumed.next()).toEqual(batches[i]);
    }
    using other = await openMixture({ ...options, seed: 12 });
    expect(await other.next()).not.toEqual(batches[0]);
    expect(() => other.restore(JSON.parse(states[3]!))).toThrow(/another mixture/);
  });

  it("pass() yields every document of every corpus once", async () => {
    using corpus = await openMixture(options);
    let bytes = 0;
    for await (const batch of corpus.pass()) {
      expect(batch.tokens.length).toBe(96);
      bytes += batch.byteCount;
    }
    const texts = [...many("a", 90), ...many("b", 40), ...many("c", 10)];
    expect(bytes).toBe(texts.reduce((n, t) => n + t.length, 0));
  });

  it("the first batches of pass() have rows of every corpus by weight", async () => {
    using corpus = await openMixture(options);
    const rows = { a: 0, b: 0, c: 0 };
    let batches = 0;
    for await (const { tokens } of corpus.pass({ maxBatches: 3 })) {
      batches++;
      for (let r = 0; r < 4; r++) {
        const [name] = byteTokenizer.decode(tokens.subarray(24 * r, 24 * r + 24)).match(/[abc](?= n)/) ?? [];
        rows[name as "a"]++;
      }
    }
    expect(batches).toBe(3);
    expect(rows).toEqual({ a: 6, b: 4, c: 2 });
  });

  it("consumes nothing in an aborted call", async () => {
    using corpus = await openMixture(options);
    await corpus.next();
    const state = corpus.state();
    await expect(corpus.next({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect(corpus.state()).toEqual(state);
  });
});

it("draws by weight whatever the size of the weights, and the same rows if they are scaled by a power of two", async () => {
  const parts = (weights: readonly number[]) =>
    [a, b].map((files, i) => ({ files, weight: weights[i]!, ...(i > 0 && { textField: "story" }) }));
  const drawn = async (weights: readonly number[]) => {
    using corpus = await openMixture({ ...base, parts: parts(weights) });
    const texts = [];
    for (let i = 0; i < 40; i++) texts.push(byteTokenizer.decode((await corpus.next()).tokens));
    const turns = [];
    for await (const { tokens } of corpus.pass({ maxBatches: 3 })) turns.push(byteTokenizer.decode(tokens));
    return { texts, turns };
  };
  const even = await drawn([1, 1]);
  const rows = (name: string, texts: readonly string[]) => texts.join("").split(`${name} number`).length - 1;
  expect(rows("a", even.texts) / rows("b", even.texts)).toBeCloseTo(1, 0);
  for (const weights of [
    [1e308, 1e308],
    [5e-324, 5e-324],
    [2 ** 1023, 2 ** 1023],
  ])
    expect(await drawn(weights), String(weights)).toEqual(even);
  expect(await drawn([2 ** 1023, 2 ** 1023 * 1.5])).toEqual(await drawn([2, 3]));
  expect(await drawn([2 ** -1074, 3 * 2 ** -1074])).toEqual(await drawn([1, 3]));
});

it("gives every corpus a seed of its own, also at the upper end of the range of seeds", async () => {
  const text = { files: a, documentSeparator: "line" } as const;
  const seed = Number.MAX_SAFE_INTEGER;
  using mixed = await openMixture({ ...base, parts: [text, text, text], seed });
  const { parts } = mixed.state();
  expect(new Set(parts.map(({ fingerprint }) => fingerprint)).size).toBe(3);
});

it("an invalid weight is rejected, and the error names it", async () => {
  for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    await expect(openMixture({ ...base, parts: [{ files: a }, { files: b, weight }] })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^parts\[1\]\.weight: expected a number above 0/),
    });
  await expect(openMixture({ ...base, parts: [] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
