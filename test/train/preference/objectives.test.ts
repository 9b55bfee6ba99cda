import { expect, test } from "vitest";
import { compile, gradients, input, openDevice, sum, Tensor, tensor } from "../../../lib/graph/index.ts";
import { Optimizer } from "../../../lib/optim/optimizer.ts";
import { oddsRatioLoss } from "../../../lib/train/losses/orpo.ts";
import { grpoStage } from "../../../lib/train/stages/grpo.ts";

const device = openDevice();

test("orpo: an answer with probability 1 has finite odds and gradients", async () => {
  const chosen = [0, -0.5, 0, -1e-4];
  const rejected = [-0.5, 0, 0, -2];
  const pairs = new Map<string, Tensor>();
  for (const [name, values] of Object.entries({ chosen, rejected }))
    pairs.set(name, await Tensor.fromOwn(device, "f32", [4], Float32Array.from(values)));
  const optimizer = new Optimizer(device, pairs);
  const program = compile(() => {
    const [c, r] = [tensor("chosen", "f32", [4]), tensor("rejected", "f32", [4])];
    const { losses, logOdds } = oddsRatioLoss({ chosen: c, rejected: r });
    gradients(sum(losses), [c, r], input("seed", "f32", [1]), {
      collect: (g, i) => optimizer.collect(["chosen", "rejected"][i]!, g),
    });
    return { losses, logOdds };
  });
  const bound = program.bind(device, new Map([...pairs, ...optimizer.gradients]));
  const { losses, logOdds } = await bound.run({ seed: Float32Array.of(1) });
  const odds = (p: number) => (p === 0 ? 24 * Math.LN2 : p - Math.log(-Math.expm1(p)));
  for (const [i, c] of chosen.entries()) {
    const expected = odds(c) - odds(rejected[i]!);
    expect(logOdds[i]).toBeCloseTo(expected, 4);
    expect(losses[i]).toBeCloseTo(Math.log1p(Math.exp(-expected)), 4);
  }
  for (const gradient of optimizer.gradients.values())
    for (const g of await gradient.toFloat32()) expect(Number.isFinite(g)).toBe(true);
  // For a probability below 1 the gradient follows the formula: d log odds / d log p = 1 / (1 − p), times −σ(−log odds).
  const [got] = (await optimizer.gradients.get("gradient.chosen")!.toFloat32()).subarray(3);
  const slope = 1 / -Math.expm1(chosen[3]!);
  expect(got! / (-slope / (1 + Math.exp(odds(chosen[3]!) - odds(rejected[3]!))))).toBeCloseTo(1, 3);
  bound.dispose();
  optimizer.dispose();
});

test("grpo's token metrics and dapo's divisor exclude answers that are masked for being truncated", () => {
  const stage = grpoStage({
    lossType: "dapo",
    epsilon: 0.2,
    epsilonHigh: 0.2,
    beta: 0.1,
    importanceSamplingLevel: "token",
    maxCompletionLength: 2,
    temperature: 1,
    sequenceLength: 3,
    answers: 2,
  });
  const answer = { ids: Int32Array.of(7, 8, 9), promptLength: 1 };
  // Each answer has three rows. Rows 0 and 1 are its tokens, and row 2 is unused.
  const ratio = Float32Array.of(1.5, 1, 1, 9, 9, 9);
  const kl = Float32Array.of(0.2, 0.4, 0, 50, 50, 0);
  const batch = (masked: readonly boolean[]) => ({
    answers: masked.map((m) => ({ answer, advantage: 1, ...(m && { masked: true }) })),
    report: { reward: 3 },
  });
  // TRL counts num_items_in_batch after masking too.
  expect(
    [
      [false, false],
      [false, true],
      [true, true],
    ].map((masked) => stage.count(batch(masked))),
  ).toEqual([4, 2, 0]);
  const figures = stage.metrics!([{ ratio, kl }], [batch([false, true])]);
  expect(figures).toEqual({ reward: 3, clipRatio: 0.5, kl: expect.closeTo(0.3, 6) });
  expect(stage.metrics!([{ ratio, kl }], [batch([true, true])])).toEqual({ reward: 3 });
});
