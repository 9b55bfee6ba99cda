// HEDDLE_CHECK=1 compares every node with its reference. Correct results must not be reported as errors.
import { describe, expect, test, vi } from "vitest";
import { columnSum, compile, input, openDevice } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { trainEmbedding } from "../../lib/train/stages/embed.ts";
import { newModel } from "../formats/sentence-transformers/embedding-folders.ts";

async function checked<T>(check: string, work: () => Promise<T>): Promise<T> {
  vi.stubEnv("HEDDLE_CHECK", check); // read when programs are compiled
  try {
    return await work();
  } finally {
    vi.unstubAllEnvs();
  }
}

/** Runs work with every node checked. To show that the work is checked, requires that it fails with a tolerance below all rounding errors. */
async function passesOnlyWithTolerance(work: () => Promise<void>): Promise<void> {
  await checked("1", work);
  await expect(checked("1e-12", work)).rejects.toThrow(/kernel .* differs from the reference/);
}

test("the embedded model generates with every node checked", () =>
  passesOnlyWithTolerance(async () => {
    await using model = await LanguageModel.load("default", { threads: 2 });
    for (const length of [3, 40]) {
      const prompt = Array.from({ length }, (_, i) => 5 + ((i * 37) % 900));
      const { tokens } = await model.complete(prompt, { maxTokens: 4, temperature: 0, ignoreEos: true });
      expect(tokens).toHaveLength(4);
    }
  }));

test("an encoder trains with every node checked, although the gradient of key biases is only rounding error", () =>
  passesOnlyWithTolerance(async () => {
    await using model = newModel("bert");
    const data = ["cat", "dog", "tree", "mat"].map((word) => ({ anchor: `the ${word} sat`, positive: `a ${word}` }));
    const { steps } = await trainEmbedding(model, { data, maxSteps: 2, perDeviceTrainBatchSize: 4 });
    expect(steps).toBe(2);
  }));

describe("sums in which large numbers cancel", () => {
  const [rows, columns] = [300, 40];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 1.7) * 3);
  const sums = async () => {
    const program = compile(() => ({ y: columnSum(input("x", "f32", [rows, columns])) }));
    const executable = program.bind(openDevice(), new Map());
    try {
      return (await executable.run({ x: values })).y as Float32Array;
    } finally {
      executable.dispose();
    }
  };
  // The last row subtracts the sum of the others from each column.
  for (let c = 0; c < columns; c++) {
    let sum = 0;
    for (let r = 0; r < rows - 1; r++) sum += values[r * columns + c]!;
    values[(rows - 1) * columns + c] = -sum;
  }

  test("have a tolerance relative to their summands", async () => {
    const y = await checked("1", sums);
    expect(Math.max(...y.map(Math.abs))).toBeLessThan(1e-3);
  });

  test("are checked with the requested tolerance", async () => {
    await expect(checked("1e-12", sums)).rejects.toThrow(/column_sum: kernel .* differs from the reference/);
  });
});
