/** The texts of a metric's chart. */
interface MetricText {
  title: string;
  note?: string;
  /** Whether the values have no noise, so that the chart shows them instead of their running mean. */
  exact?: boolean;
}

/** The groups of charts in their order. The group without `names` has all metrics that are in no other group. */
export const metricGroups = [
  { id: "loss", title: "Loss", names: ["loss"] },
  { id: "stage", title: "Metrics of the stage", names: undefined },
  { id: "optimizer", title: "Optimizer", names: ["learningRate", "gradNorm"] },
  { id: "speed", title: "Speed", names: ["tokensPerSecond"] },
] as const;

const texts: Readonly<Record<string, MetricText>> = {
  loss: { title: "Loss" },
  learningRate: { title: "Learning rate", exact: true },
  gradNorm: { title: "Gradient norm", note: "before clipping" },
  tokensPerSecond: { title: "Tokens per second" },
  reward: { title: "reward", note: "mean over the answers; an answer's reward is the weighted sum of its scores" },
  rewardStd: { title: "rewardStd", note: "standard deviation of rewards within a group; at 0 a group teaches nothing" },
  kl: { title: "kl", note: "divergence from the reference" },
  approxKl: { title: "approxKl", note: "divergence from the policy of the rollout" },
  klCoef: { title: "klCoef", note: "weight of the divergence" },
  clipRatio: { title: "clipRatio", note: "share of tokens whose ratio is clipped" },
  completionLength: { title: "completionLength", note: "tokens of an answer" },
  endedShare: { title: "endedShare", note: "share of answers that end by themselves" },
  samplingWeight: {
    title: "samplingWeight",
    note: "mean importance weight of sampled tokens; 1 if the sampler's weights are not rounded",
  },
  rewardAccuracy: { title: "rewardAccuracy", note: "share of pairs in which the better answer is preferred" },
  rewardMargin: { title: "rewardMargin", note: "reward of the better answer minus that of the other" },
};

/** Returns the texts of a metric's chart. Metrics of a stage keep their names, so that they can be found in the log. */
export function metricText(name: string): MetricText {
  return Object.hasOwn(texts, name) ? texts[name]! : { title: name };
}
