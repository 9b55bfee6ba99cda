// A row's index decides whether the row is held out, whatever other rows are skipped.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readRows } from "../../../lib/data/rows.ts";
import { allKept, splitExamples } from "../../../lib/train/examples/example-source.ts";
import { readSftExamples } from "../../../lib/train/examples/sft-data.ts";
import { SftSource } from "../../../lib/train/examples/sft-source.ts";
import { pairsOf } from "../../../lib/train/preference/pair-rows.ts";
import { readSplit } from "../../../lib/train/preference/prepare.ts";
import { RowEncoder } from "../../../lib/train/preference/rows.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { useTrainedModel } from "../rollout/speaker.ts";

const place = useTrainedModel();
const ROWS = 40;
/** The first row and every fifth one are long. */
const lengthOf = (i: number) => (i % 5 === 0 ? 30 : 2);
const fraction = 0.3;
/** The training and held-out rows if no row is skipped. */
const expected = splitExamples(allKept(Array.from({ length: ROWS }, (_, i) => i)), fraction);

test("rows are numbered over all files of a source", async () => {
  const paths = ["a.jsonl", "b.jsonl"].map((name) => join(temporaryFolder(), name));
  await writeFile(paths[0]!, '{"text": "a"}\n\n{"text": "b"}\n');
  await writeFile(paths[1]!, '{"text": "c"}\n');
  const found: [unknown, number][] = [];
  for await (const { value, index } of readRows(paths)) found.push([value.text, index]);
  expect(found).toEqual([
    ["a", 0],
    ["b", 1],
    ["c", 2],
  ]);
});

describe("rows that are too long", () => {
  const skipped = (i: number) => lengthOf(i) > 2;
  const left = (rows: readonly number[]) => rows.filter((i) => !skipped(i));

  test("are skipped in supervised fine-tuning, and every other row stays in its split", async () => {
    const rows = Array.from({ length: ROWS }, (_, i) => ({ text: `${i} ${"red ball ".repeat(lengthOf(i))}` }));
    const of = async (maxSeqLength: number) => {
      const options = { assistantOnlyLoss: true, completionOnlyLoss: true, truncationMode: "drop" } as const;
      const read = await readSftExamples(rows, place.tokenizer, {
        ...options,
        maxSeqLength,
        name: "data",
        warn: () => {},
      });
      const { train, heldOut } = splitExamples({ ...read, rows: read.examples }, fraction);
      const numbers = (examples: typeof train) =>
        examples.map(({ ids }) => Number.parseInt(place.tokenizer.decode(ids, { skipSpecialTokens: true }), 10));
      return { train: numbers(train), heldOut: numbers(heldOut) };
    };
    expect(await of(1000)).toEqual(expected);
    expect(await of(40)).toEqual({ train: left(expected.train), heldOut: left(expected.heldOut) });
  });

  test("are skipped in preference training, and every other row stays in its split", async () => {
    const encoder = new RowEncoder(place.tokenizer);
    const data = Array.from({ length: ROWS }, (_, i) => ({
      prompt: "Anna likes",
      chosen: ` ${i} ${"red ball ".repeat(lengthOf(i))}`,
      rejected: " the old tree.",
    }));
    const of = async (limit: number) => {
      const { train, heldOut } = await readSplit(
        { data, evalFraction: fraction, truncationMode: "drop" },
        {
          limit,
          read: (row) => pairsOf(row, encoder),
          sequences: ({ chosen, rejected }) => [chosen, rejected],
          replaced: (pair) => pair,
          warn: () => {},
        },
      );
      const numbers = (pairs: typeof train) =>
        pairs.map(({ chosen: { ids, promptLength } }) =>
          Number.parseInt(place.tokenizer.decode(ids.slice(promptLength), { skipSpecialTokens: true }), 10),
        );
      return { train: numbers(train), heldOut: numbers(heldOut) };
    };
    expect(await of(1000)).toEqual(expected);
    expect(await of(40)).toEqual({ train: left(expected.train), heldOut: left(expected.heldOut) });
  });
});

test("splitExamples throws if the only row to hold out was skipped, instead of holding out another one", () => {
  const rows = [0, 1, 2, 3, 4];
  const [only] = splitExamples(allKept(rows), 1e-6).heldOut;
  const indices = rows.filter((i) => i !== only);
  expect(() => splitExamples({ rows: indices, indices, count: rows.length }, 1e-6)).toThrow(
    "evalFraction: expected a share that holds out at least one row that is not skipped, got 0.000001 of 5 rows",
  );
});

test("packed rows are evaluated in a random order, which is the same for every seed", async () => {
  const [capacity, long, short] = [32, 32, 20];
  // No two rows share a sequence. A row's first token is its number.
  const heldOut = Array.from({ length: 64 }, (_, i) => {
    const length = i < 32 ? long : short;
    return { ids: new Uint32Array(length).fill(i), mask: new Uint8Array(length).fill(1, 1) };
  });
  const evaluated = async (seed: number, evalBatches?: number) => {
    const shape = { batchSize: 4, sequenceLength: capacity, packing: true, seed, evalBatches };
    const source = new SftSource(heldOut, { ...shape, heldOut });
    const numbers: number[] = [];
    for await (const { tokens } of source.evaluation!())
      for (let at = 0; at < tokens.length; at += capacity) numbers.push(tokens[at]!);
    return numbers;
  };
  const all = await evaluated(1);
  expect([...all].sort((a, b) => a - b)).toEqual(heldOut.map((_, i) => i));
  const some = await evaluated(2, 4);
  expect(some).toEqual(all.slice(0, 16));
  const longRows = some.filter((i) => i < 32).length;
  expect(longRows).toBeGreaterThan(2);
  expect(longRows).toBeLessThan(14);
});
