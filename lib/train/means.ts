import type { Metrics, Stage } from "./stage.ts";

/** Means of metrics over batches, steps or ranks, each over those that have it: one without a good answer says nothing of good ones. */
export class MetricMeans {
  private readonly sums = new Map<string, { sum: number; weight: number }>();

  /**
   * @param weight of what these metrics are means over
   * @param own weights of single metrics, instead
   */
  add(metrics: Metrics, weight: number, own: Metrics = {}): void {
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value !== "number") continue; // JSON has no number for what is none
      const one = (Object.hasOwn(own, name) ? own[name] : undefined) ?? weight;
      const before = this.sums.get(name) ?? { sum: 0, weight: 0 };
      this.sums.set(name, { sum: before.sum + value * one, weight: before.weight + one });
    }
  }

  /** What follows from the means of a stage's metrics is in it as well. */
  of(stage: Pick<Stage<never>, "derived">): Metrics {
    const known = [...this.sums].filter(([, { weight }]) => weight > 0);
    const means = Object.fromEntries(known.map(([name, { sum, weight }]) => [name, sum / weight]));
    return { ...means, ...stage.derived?.(means) };
  }
}

/** `{ metrics }`; nothing where there are none. */
export function someOf(metrics: Metrics): { metrics?: Metrics } {
  return Object.keys(metrics).length > 0 ? { metrics } : {};
}
