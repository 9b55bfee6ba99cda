import { planOf } from "../../lib/lifecycle/plan.ts";
import type { ReportData } from "../../lib/lifecycle/report/data.ts";
import type { Measurement, Sample } from "../../lib/lifecycle/types.ts";
import { calibration } from "../../lib/metrics/calibration.ts";

/** Seeded random numbers for the layout of the report, never shown as results. */
function* chance(seed: number): Generator<number, never, void> {
  let state = seed >>> 0;
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** A report with invented numbers that has every figure, and texts that would break a page without escaping. */
export function exampleReport(): ReportData {
  const random = chance(1);
  const next = () => random.next().value;
  const curve = (steps: number, from: number, to: number) =>
    Array.from({ length: steps }, (_, i) => ({
      step: i + 1,
      loss: to + (from - to) * Math.exp((-6 * i) / steps) + 0.08 * (next() - 0.5),
    }));
  const measurement = (
    metrics: Measurement["metrics"],
    sure: number,
    samples: [string, Sample["verdict"]?][],
  ): Measurement => {
    const confidences = Array.from({ length: 400 }, () => Math.min(1, sure * (0.4 + 0.7 * next())));
    const right = confidences.map((c) => next() < c * (metrics.ece && metrics.ece > 0.1 ? 0.75 : 0.97));
    const prompts = ["What is the name of the capital of <b>Japan</b>?", "Please tell me the capital of Zorvanstan."];
    return {
      metrics,
      calibration: calibration(confidences, right, { bins: 10, bootstrap: 50 }),
      samples: [
        {
          prompt: "Once upon a time, there was a little fox",
          kind: "continue",
          text: ' who lived in a "warm" burrow & was </script> kind.',
        },
        ...samples.map(([text, verdict], i) => ({
          prompt: prompts[i]!,
          kind: "ask" as const,
          text,
          ...(verdict && { verdict }),
        })),
      ],
      candidates: [" Paris", " the", " called", " a", " London", " Port"].map((text, i) => ({
        text,
        probability: 0.9 * 0.2 ** i + 0.01 * next(),
      })),
    };
  };
  const plan = planOf({ seed: 1, budgetMinutes: 20, quick: false });
  const random0 = { ...measurement({ bitsPerByte: 2.9, capitals: 0 }, 0.2, []), calibration: undefined };
  const base = measurement(
    { bitsPerByte: 0.71, capitals: 0.94, exactMatch: 0.02, answerableExactMatch: 0.02, inventedRate: 1, ece: 0.2 },
    0.3,
    [
      ["\nTokyo is the capital city of Japan. What is the currency of Japan?", "wrong"],
      ["The capital of Zorvanstan is Zagreb. <img src=x onerror=alert(1)>", "invented"],
    ],
  );
  const sft = measurement(
    { bitsPerByte: 0.72, capitals: 0.93, exactMatch: 0.96, answerableExactMatch: 0.94, inventedRate: 0.78, ece: 0.21 },
    0.9,
    [
      ["The capital of Japan is Tokyo.", "right"],
      ["The capital of Zorvanstan is Zagreb.", "invented"],
    ],
  );
  const dpo = measurement(
    { bitsPerByte: 0.72, capitals: 0.92, exactMatch: 0.95, answerableExactMatch: 0.92, inventedRate: 0.09, ece: 0.06 },
    0.97,
    [
      ["The capital of Japan is Tokyo.", "right"],
      ["I don't know.", "right"],
    ],
  );
  const grpo = measurement(
    { bitsPerByte: 0.73, capitals: 0.92, exactMatch: 0.96, answerableExactMatch: 0.93, inventedRate: 0.12, ece: 0.07 },
    0.97,
    [
      ["I don't know.", "declined"],
      ["I don't know.", "right"],
    ],
  );
  const tokens = ["The", " capital", " of", " France", " is", " Paris", "."].map((text, i) => ({
    id: 100 + 37 * i,
    text,
  }));
  return {
    plan,
    started: "2026-01-01T00:00:00.000Z",
    parameters: 2_410_000,
    stages: [
      {
        name: "tokenizer",
        steps: 0,
        seconds: 9.4,
        tokens: 0,
        metrics: { before: { bitsPerByte: 8 }, after: { bitsPerByte: 2.9 } },
      },
      {
        name: "pretrain",
        steps: 700,
        seconds: 481,
        tokens: 2_867_200,
        metrics: { before: random0.metrics, after: { bitsPerByte: 0.71, capitals: 0.94 } },
      },
      { name: "sft", steps: 220, seconds: 180, tokens: 440_000, metrics: { before: base.metrics, after: sft.metrics } },
      { name: "dpo", steps: 140, seconds: 130, tokens: 210_000, metrics: { before: sft.metrics, after: dpo.metrics } },
      {
        name: "reward",
        steps: 100,
        seconds: 40,
        tokens: 90_000,
        metrics: { before: {}, after: { rewardAccuracy: 0.97 } },
      },
      {
        name: "grpo",
        steps: 100,
        seconds: 150,
        tokens: 160_000,
        metrics: { before: sft.metrics, after: grpo.metrics },
      },
      {
        name: "classify",
        steps: 80,
        seconds: 50,
        tokens: 40_000,
        metrics: { before: { accuracy: 1 / 6 }, after: { accuracy: 0.81 } },
      },
    ],
    losses: [
      { stage: "pretrain", points: curve(350, 8.3, 1.1) },
      { stage: "sft", points: curve(220, 2.6, 0.3) },
      { stage: "dpo", points: curve(140, 1.1, 0.2) },
      { stage: "reward", points: curve(100, 0.7, 0.05) },
      { stage: "grpo", points: curve(100, 0.05, 0.01) },
    ],
    measurements: [
      { after: "random", measurement: random0 },
      { after: "pretrain", measurement: base },
      { after: "sft", measurement: sft },
      { after: "dpo", measurement: dpo },
      { after: "grpo", measurement: grpo },
    ],
    sentences: [
      { text: "The capital of France is Paris.", tokens },
      {
        text: "unbelievable, こん",
        tokens: ["un", "bel", "iev", "able", ",", " ", "⟨E3⟩", "⟨81⟩", "⟨93⟩"].map((text, i) => ({ id: 9 * i, text })),
      },
    ],
    comparison: {
      labels: ["Africa", "Asia", "Europe", "North America", "Oceania", "South America"],
      discriminative: { before: 1 / 6, after: 0.81 },
      generative: { before: 0.44, after: 0.83 },
      examples: [0, 1, 2].map((i) => ({
        text: "My uncle lives in Senegal.",
        label: "Africa",
        probabilities: {
          Africa: 0.8 - 0.1 * i,
          Asia: 0.1 + 0.1 * i,
          Europe: 0.05,
          "North America": 0.02,
          Oceania: 0.02,
          "South America": 0.01,
        },
        generated: "Africa",
      })),
    },
  };
}
