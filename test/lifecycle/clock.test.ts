import { expect, test } from "vitest";
import { LifecycleProgress } from "../../lib/cli/lifecycle-progress.ts";
import { TrainProgress } from "../../lib/cli/train-progress.ts";
import { Clock } from "../../lib/lifecycle/clock.ts";
import { planOf } from "../../lib/lifecycle/plan.ts";

const plan = planOf({ seed: 1, budgetMinutes: 20, quick: false });
// Of the plan: pretrain 630 s in 1500 steps, then 40, 45, 15, 90 and 60 s.
const AFTER_PRETRAIN = 250;

function clockAt() {
  let ms = 0;
  const clock = new Clock(plan, () => ms);
  return { clock, pass: (seconds: number) => (ms += seconds * 1000) };
}

test("nothing is said before steps say it: a vocabulary made in no time is no measure", () => {
  const { clock, pass } = clockAt();
  clock.start("tokenizer");
  expect(clock.secondsLeft()).toBeUndefined();
  pass(0.1);
  clock.end("tokenizer");
  expect(clock.secondsLeft()).toBeUndefined();
  clock.start("pretrain");
  pass(20); // loading and measuring before the first step
  for (let step = 1; step <= 4; step++) {
    pass(step === 1 ? 5 : 0.84); // the first makes programs
    clock.step(step / 1500);
    // Twice as slow as the plan says: 1500 steps of 0.84 s, and twice what is planned for the rest.
    if (step < 4) expect(clock.secondsLeft()).toBeUndefined();
    else expect(clock.secondsLeft()).toBe(Math.round(1496 * 0.84 + 2 * AFTER_PRETRAIN));
  }
});

test("a stage that goes on near its end is judged by what this run does of it", () => {
  const { clock, pass } = clockAt();
  clock.skip("tokenizer");
  clock.start("pretrain");
  expect(clock.secondsLeft()).toBeUndefined();
  for (let step = 1400; step <= 1410; step++) {
    clock.step(step / 1500);
    pass(0.42);
  }
  // The plan's pace.
  expect(clock.secondsLeft()).toBe(Math.round(90 * 0.42 + AFTER_PRETRAIN));
  pass(89 * 0.42);
  clock.step(1);
  clock.end("pretrain");
  expect(clock.secondsLeft()).toBe(AFTER_PRETRAIN);
  for (const stage of ["sft", "dpo", "reward", "grpo"] as const) clock.skip(stage);
  clock.start("classify");
  expect(clock.secondsLeft()).toBe(60);
  clock.end("classify");
  expect(clock.secondsLeft()).toBe(0);
});

function terminal() {
  const written: string[] = [];
  const stream = { isTTY: true, columns: 120, write: (text: string) => written.push(text) };
  return { stream: stream as unknown as NodeJS.WriteStream, last: () => written.at(-1)! };
}

test("the line of the lesson has no time left where none is known", () => {
  const { stream, last } = terminal();
  const progress = new LifecycleProgress(stream);
  const step = { type: "step", stage: "pretrain", maxSteps: 10, loss: 2, tokensPerSecond: 900 } as const;
  progress.update({ type: "stage", stage: "pretrain", maxSteps: 10, secondsLeft: undefined });
  expect(last()).toMatch(/pretrain *$/);
  progress.update({ ...step, step: 1, secondsLeft: undefined });
  expect(last()).toMatch(/1\/10 {2}loss 2.000 {2}900 tokens\/s$/);
  progress.update({ ...step, step: 2, secondsLeft: 725 });
  expect(last()).toMatch(/2\/10 {2}loss 2.000 {2}900 tokens\/s {2}12:05 left$/);
});

test("a training's line judges by steps after the first: loading is none of them", () => {
  const { stream, last } = terminal();
  let ms = 0;
  const progress = new TrainProgress(stream, () => ms);
  const counts = { tokensSeen: 5, skippedSteps: 0, maxSteps: 1000 };
  const event = { loss: 2, learningRate: 1e-3, gradNorm: 1, tokensPerSecond: 900, ...counts };
  ms = 30_000;
  progress.update({ ...event, step: 501 });
  expect(last()).not.toContain("left");
  ms += 500;
  progress.update({ ...event, step: 502 });
  expect(last()).toContain("4 min 9 s left");
  progress.update({ ...event, skippedSteps: 3, step: 502 });
  expect(last()).toContain("3 left out");
  const metrics = { rewardMargin: 1.5, replayLoss: 0.25 };
  progress.update({ ...event, metrics, step: 502 });
  expect(last()).toMatch(/rewardMargin 1.5000 {2}replayLoss 0.2500$/);
  progress.update({ ...event, metrics: { ["x".repeat(200)]: 1 }, step: 502 });
  expect(last().length).toBeLessThanOrEqual("\r\x1b[2K".length + 119); // a line that wraps cannot be written over
});
