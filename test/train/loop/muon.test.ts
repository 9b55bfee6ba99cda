import { describe, expect, test } from "vitest";
import type { Batch } from "../../../lib/data/batch.ts";
import { compile, input, openDevice } from "../../../lib/graph/index.ts";
import { linearLayers } from "../../../lib/models/adapters/linear-layers.ts";
import { orthogonalized } from "../../../lib/optim/muon.ts";
import { TrainStep } from "../../../lib/train/loop/step.ts";
import { languageModelingStage } from "../../../lib/train/losses/language-modeling.ts";
import golden from "../../golden/muon.json" with { type: "json" };
import { type GoldenName, goldenCase, goldenModel, hashed } from "../../golden/weights.ts";

const device = openDevice();

function batchOf(name: GoldenName): Batch {
  const { ids, targets } = goldenCase(name);
  const flat = Int32Array.from(targets.flat());
  return {
    tokens: Int32Array.from(ids.flat()),
    targets: flat,
    tokenCount: flat.filter((t) => t >= 0).length,
    byteCount: 0,
  };
}

describe.each(golden)("Muon with AdamW against PyTorch in float64: $model, z-loss $zLoss", (given) => {
  const name = given.model as GoldenName;
  const create = async () => {
    const model = await goldenModel(name, device);
    const layers = [...linearLayers(model)].map(([layer, about]) => ({ name: `${layer}.weight`, ...about }));
    expect(layers.map((layer) => layer.name).sort()).toEqual([...given.hidden].sort());
    const shape = { sequences: 2, sequenceLength: goldenCase(name).ids[0]!.length, dtype: "f32" as const };
    const stage = languageModelingStage({ packing: "concatenate", zLoss: given.zLoss });
    const step = await TrainStep.create(model, stage, shape, {
      muon: {
        names: new Set(given.hidden),
        transposed: new Set(layers.filter(({ transposed }) => transposed).map((layer) => layer.name)),
        rateRatio: given.rate / 1e-3,
        momentum: given.momentum,
        weightDecay: given.weightDecay,
      },
    });
    return { model, step };
  };

  test("loss and every gradient have a relative error of at most 1e-5", async () => {
    const { model, step } = await create();
    const { loss } = await step.accumulate([batchOf(name)]);
    expect(Math.abs(loss / given.losses[0]! - 1)).toBeLessThan(1e-5);
    for (const [weight, expected] of Object.entries(given.gradients)) {
      const got = await step.optimizer.gradients.get(`gradient.${weight}`)!.toFloat32();
      expect(Math.abs(Math.hypot(...got) - expected.norm), weight).toBeLessThan(1e-5 * expected.norm + 1e-9);
      for (const [i, g] of expected.first.entries())
        expect(Math.abs(got[i]! - g), `${weight}[${i}]`).toBeLessThan(1e-5 * expected.norm + 1e-9);
    }
    step.dispose();
    model.dispose();
  });

  test("ten losses agree to 4 digits, and ten gradient norms to 3", async () => {
    const { model, step } = await create();
    expect(given.losses).toHaveLength(10);
    for (const [i, expected] of given.losses.entries()) {
      const { loss, gradNorm } = await step.run([batchOf(name)], 1e-3);
      expect(Math.abs(loss / expected - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);
      expect(Math.abs(gradNorm / given.gradNorms[i]! - 1), `norm of step ${i + 1}`).toBeLessThan(1e-3);
    }
    const momenta = given.hidden.map((n) => `momentum.${n}`);
    expect([...step.optimizer.moments.keys()].filter((n) => n.startsWith("momentum."))).toHaveLength(momenta.length);
    expect(step.optimizer.moments.has(`m.${given.hidden[0]}`)).toBe(false);
    step.dispose();
    model.dispose();
  });
});

/** Returns the product of two matrices by rows, x yᵀ. */
const product = (x: number[][], y: number[][]) =>
  x.map((a) => y.map((b) => a.reduce((sum, v, i) => sum + v * b[i]!, 0)));
const transposed = (x: number[][]) => x[0]!.map((_, i) => x.map((row) => row[i]!));

/** Returns the eigenvalues of a symmetric matrix, by Jacobi rotations in place. */
function eigenvalues(a: number[][]): number[] {
  for (let sweep = 0; sweep < 20; sweep++)
    for (let p = 0; p < a.length; p++)
      for (let q = p + 1; q < a.length; q++) {
        const angle = Math.atan2(2 * a[p]![q]!, a[q]![q]! - a[p]![p]!) / 2;
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        for (const row of a) [row[p], row[q]] = [c * row[p]! - s * row[q]!, s * row[p]! + c * row[q]!];
        for (const [k, u] of a[p]!.entries()) {
          const v = a[q]![k]!;
          [a[p]![k], a[q]![k]] = [c * u - s * v, s * u + c * v];
        }
      }
  return a.map((row, i) => row[i]!);
}

test.each([
  [5, 12],
  [12, 5],
  [8, 8],
  [1, 7],
])("orthogonalized (%i, %i) has singular values near 1 and its input's singular vectors", async (rows, columns) => {
  const program = compile(() => ({ x: orthogonalized(input("g", "f32", [rows, columns])) }));
  const executable = program.bind(device, new Map());
  const g = Float32Array.from(hashed(3, rows * columns));
  const { x } = await executable.run({ g });
  // The scale of the input does not matter, and zeros stay zeros.
  const { x: larger } = await executable.run({ g: g.map((v) => 1000 * v) });
  for (const [i, v] of larger.entries()) expect(v).toBeCloseTo(x[i]!, 4);
  const { x: none } = await executable.run({ g: new Float32Array(rows * columns) });
  expect(none.every((v) => v === 0)).toBe(true);
  const rowsOf = (values: ArrayLike<number>) =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => values[r * columns + c]!));
  const [got, given] = [rowsOf(x as Float32Array), rowsOf(g)];
  const wide = rows <= columns ? got : transposed(got);
  for (const square of eigenvalues(product(wide, wide))) {
    expect(Math.sqrt(square)).toBeGreaterThan(0.65);
    expect(Math.sqrt(square)).toBeLessThan(1.2);
  }
  // X Gᵀ and Xᵀ G are symmetric if X and G have the same singular vectors.
  for (const both of [product(got, given), product(transposed(got), transposed(given))])
    for (const [i, row] of both.entries()) for (const [j, v] of row.entries()) expect(v).toBeCloseTo(both[j]![i]!, 5);
  executable.dispose();
});
