import { describe, expect, test } from "vitest";
import { allKept, ExampleSource, splitExamples } from "../../../lib/train/examples/example-source.ts";

const rows = Array.from({ length: 10 }, (_, i) => ({ ids: Int32Array.of(i, i + 1), label: i % 3, text: `row ${i}` }));
const options = { batchSize: 3, seed: 4 };

async function taken<T>(source: ExampleSource<T>, batches: number): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0; i < batches; i++) all.push(...(await source.next()));
  return all;
}

describe("examples in memory", () => {
  test("reject a misspelt option, such as heldout, which would disable evaluation", () => {
    expect(() => new ExampleSource(rows, { ...options, heldout: rows } as typeof options)).toThrow(
      /^heldout: expected a known option \(nearest: heldOut\), got an unknown one$/,
    );
  });

  test("continue from a saved position, also with another batch size", async () => {
    const whole = await taken(new ExampleSource(rows, options), 7);
    const first = new ExampleSource(rows, options);
    await taken(first, 2);
    const state = JSON.parse(JSON.stringify(first.state()));
    for (const batchSize of [3, 5]) {
      const second = new ExampleSource(
        rows.map((row) => ({ ...row })),
        { ...options, batchSize },
      );
      second.restore(state);
      expect(await taken(second, 3)).toEqual(whole.slice(6, 6 + 3 * batchSize));
    }
  });

  test.each<[string, object[], number]>([
    ["one token differs", rows.map((row, i) => (i === 7 ? { ...row, ids: Int32Array.of(7, 9) } : row)), 4],
    ["one label differs", rows.map((row, i) => (i === 2 ? { ...row, label: 0 } : row)), 4],
    ["another order", [...rows.slice(1), rows[0]!], 4],
    ["one nested text differs", rows.map((row, i) => (i === 3 ? { ...row, more: [{ text: "x" }] } : row)), 4],
    ["one more row", [...rows, rows[0]!], 4],
    ["another seed", rows, 5],
  ])("reject the state of another source: %s", (_, others, seed) => {
    const state = new ExampleSource(rows, options).state();
    const refused = () => new ExampleSource<object>(others, { ...options, seed }).restore(state);
    expect(refused).toThrow(
      /^resume: expected the data and seed of the resumed run \(10 rows \w{16}, seed 4\), got others/,
    );
  });

  test("have a fingerprint of rows of any type, including cyclic ones", () => {
    const loop: { self?: object } = {};
    loop.self = loop;
    for (const odd of [
      loop,
      () => 1,
      Symbol("x"),
      3n,
      null,
      undefined,
      new Map([[1, { a: 2 }]]),
      new Set(["a"]),
      Object.create(null),
    ])
      expect(new ExampleSource([odd], options).state().fingerprint).toMatch(/^1 rows \w{16}, seed 4$/);
    const of = (value: unknown) => new ExampleSource([value], options).state().fingerprint;
    expect(of(new Map([[1, 2]]))).not.toBe(of(new Map([[1, 3]])));
    expect(of("1")).not.toBe(of(1));
    expect(of(["a", "b"])).not.toBe(of(["ab"]));
  });
});

describe("splitExamples", () => {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

  test.each([2, 3, 4, 5, 9])("a small fraction of %i rows is one row, which a larger fraction includes", (count) => {
    const { heldOut, train } = splitExamples(allKept(numbers(count)), 1e-6);
    expect(heldOut).toHaveLength(1);
    expect([...train, ...heldOut].sort()).toEqual(numbers(count));
    const more = splitExamples(allKept(numbers(100)), 0.5);
    expect(splitExamples(allKept(numbers(100)), 1e-6).heldOut.every((row) => more.heldOut.includes(row))).toBe(true);
  });

  test("a fraction of 0 holds nothing out", () => {
    expect(splitExamples(allKept(numbers(5)), 0)).toEqual({ train: numbers(5), heldOut: [] });
  });
});
