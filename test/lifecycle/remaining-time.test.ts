import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { lossUnit } from "../../lib/cli/options/stage-table.ts";
import { LifecycleProgress } from "../../lib/cli/terminal/lifecycle-progress.ts";
import { evaluated, TrainProgress } from "../../lib/cli/terminal/train-progress.ts";
import { WorkProgress } from "../../lib/cli/terminal/work-progress.ts";
import { planOf } from "../../lib/lifecycle/plan.ts";
import { RemainingTime } from "../../lib/lifecycle/remaining-time.ts";

const plan = planOf({ seed: 1, budgetMinutes: 20, quick: false });
// Planned seconds of the stages after pretrain: 40 + 45 + 15 + 90 + 60. Pretrain itself is planned with 630 s for 1500 steps.
const AFTER_PRETRAIN = 250;

function clockAt() {
  let ms = 0;
  const clock = new RemainingTime(plan, () => ms);
  return { clock, pass: (seconds: number) => (ms += seconds * 1000) };
}

test("the time left is unknown until the fourth training step, and is then extrapolated from the pace", () => {
  const { clock, pass } = clockAt();
  clock.start("tokenizer");
  expect(clock.secondsLeft()).toBeUndefined();
  pass(0.1);
  clock.end("tokenizer");
  expect(clock.secondsLeft()).toBeUndefined();
  clock.start("pretrain");
  pass(20); // loading and evaluation before the first step
  for (let step = 1; step <= 4; step++) {
    pass(step === 1 ? 5 : 0.84); // the first step compiles programs
    clock.step(step / 1500);
    // The steps take twice the planned time, so the later stages are expected to take twice theirs.
    if (step < 4) expect(clock.secondsLeft()).toBeUndefined();
    else expect(clock.secondsLeft()).toBe(Math.round(1496 * 0.84 + 2 * AFTER_PRETRAIN));
  }
});

test("a stage resumed near its end is estimated from the steps of this run", () => {
  const { clock, pass } = clockAt();
  clock.skip("tokenizer");
  clock.start("pretrain");
  expect(clock.secondsLeft()).toBeUndefined();
  for (let step = 1400; step <= 1410; step++) {
    clock.step(step / 1500);
    pass(0.42);
  }
  // The steps take the planned time.
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

beforeEach(() => void vi.stubEnv("TERM", "xterm"));
afterEach(() => void vi.unstubAllEnvs());

function terminal() {
  const written: string[] = [];
  const stream = { isTTY: true, columns: 120, write: (text: string) => written.push(text) };
  return { stream: stream as unknown as NodeJS.WriteStream, last: () => written.at(-1) ?? "" };
}

test("the progress line omits the time left if it is unknown", () => {
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

test("a message after the progress of a lifecycle begins on its own line", () => {
  const { stream, last } = terminal();
  const progress = new LifecycleProgress(stream);
  progress.end();
  expect(last()).toBe("");
  const result = { name: "pretrain", steps: 1, seconds: 1, tokens: 1, metrics: { before: {}, after: {} } } as const;
  progress.update({ type: "evaluation", stage: "pretrain", secondsLeft: undefined });
  progress.end();
  expect(last()).toBe("\n");
  progress.update({ type: "done", stage: "pretrain", result, secondsLeft: undefined });
  const line = last();
  progress.end();
  expect(last()).toBe(line);
});

const unit = lossUnit("sft");

test("an evaluation's line has the loss with its unit, and the count it was averaged over", () => {
  const event = { step: 1, maxSteps: 2, evalLoss: 5.85, tokens: 19600 };
  expect(evaluated(event, unit)).toBe("held-out loss 5.8500 nats per token over 19,600 tokens");
  expect(evaluated({ ...event, tokens: 1 }, lossUnit("dpo"))).toBe("held-out loss 5.8500 over 1 pair");
  expect(evaluated({ ...event, tokens: 1 }, lossUnit("grpo"))).toBe("held-out loss 5.8500 over 1 token of answers");
  expect(evaluated(event, lossUnit("grpo", "dr_grpo"))).toBe("held-out loss 5.8500 over 19,600 answers");
});

test("the line of a training stage estimates from the steps after the first, which includes loading", () => {
  const { stream, last } = terminal();
  let ms = 0;
  const progress = new TrainProgress(stream, () => ms);
  const counts = { tokensSeen: 5, skippedSteps: 0, maxSteps: 1000 };
  const event = { loss: 2, learningRate: 1e-3, gradNorm: 1, tokensPerSecond: 900, ...counts };
  ms = 30_000;
  progress.update({ ...event, step: 501 }, unit);
  expect(last()).not.toContain("left");
  ms += 500;
  progress.update({ ...event, step: 502 }, unit);
  expect(last()).toContain("4:09 left");
  progress.update({ ...event, skippedSteps: 3, step: 502 }, unit);
  expect(last()).toContain("3 skipped");
  const metrics = { rewardMargin: 1.5, replayLoss: 0.25 };
  progress.update({ ...event, metrics, step: 502 }, unit);
  expect(last()).toMatch(/rewardMargin 1.5000 {2}replayLoss 0.2500$/);
  // A wrapped line cannot be overwritten, so whole parts that do not fit are left out.
  progress.update({ ...event, metrics: { reward: 1, ["x".repeat(200)]: 1 }, step: 502 }, unit);
  expect(last()).toMatch(/left {2}reward 1.0000$/);
  stream.columns = 50;
  progress.update({ ...event, step: 502 }, unit);
  expect(last()).toMatch(/ 502\/1000 {2}loss 2.0000$/);
  stream.columns = 0; // a terminal of unknown width
  progress.update({ ...event, step: 502 }, unit);
  expect(last()).toMatch(/ 502\/1000 {2}loss 2.0000 {2}900 tokens\/s {2}4:09 left$/);
  stream.columns = 20;
  progress.update({ ...event, step: 502 }, unit);
  expect(last()).toHaveLength("\r\x1b[2K".length + 19);
});

test("the line of an evaluation stays visible, and no empty line follows it", () => {
  const { stream, last } = terminal();
  const progress = new TrainProgress(stream);
  progress.update({ step: 1, maxSteps: 2, evalLoss: 5.85, tokens: 19600 }, unit);
  const line = last();
  expect(line).toMatch(/ 1\/2 {2}held-out loss 5.8500 nats per token over 19,600 tokens\n$/);
  progress.end();
  expect(last()).toBe(line);
});

test("a dumb terminal gets no lines that overwrite each other", () => {
  vi.stubEnv("TERM", "dumb");
  const { stream, last } = terminal();
  const event = {
    loss: 2,
    learningRate: 1e-3,
    gradNorm: 1,
    tokensPerSecond: 900,
    tokensSeen: 5,
    maxSteps: 1000,
    skippedSteps: 0,
  };
  new TrainProgress(stream).update({ ...event, step: 20 }, unit);
  new WorkProgress(stream).update("read", 1, 2);
  expect(last()).toBe("");
  const step = { type: "step", stage: "pretrain", maxSteps: 40, loss: 2, tokensPerSecond: 900 } as const;
  new LifecycleProgress(stream).update({ ...step, step: 20, secondsLeft: 5 });
  expect(last()).toMatch(/^pretrain .* 20\/40 {2}loss 2.000 {2}900 tokens\/s {2}0:05 left\n$/);
});
