import type { Metrics, Stage } from "./stage.ts";

/** Sums of metrics, as JSON. A sum is a string, because JSON has no NaN and no infinity. */
export type MeanSums = readonly (readonly [name: string, sum: string, weight: number])[];

/**
 * Means of metrics over batches, steps or ranks. The mean of a metric covers only the batches, steps or ranks that have
 * it. For example, a KTO batch without a good answer has no rewardChosen.
 */
export class MetricMeans {
  private readonly known = new Map<string, { sum: number; weight: number }>();

  /**
   * @param weight number of items that these metrics are means over
   * @param own weights of single metrics, which override `weight`
   */
  add(metrics: Metrics, weight: number, own: Metrics = {}): void {
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value !== "number") continue; // a NaN that went through JSON is null
      const one = (Object.hasOwn(own, name) ? own[name] : undefined) ?? weight;
      const before = this.known.get(name) ?? { sum: 0, weight: 0 };
      this.known.set(name, { sum: before.sum + value * one, weight: before.weight + one });
    }
  }

  /** Sums for a checkpoint. */
  get sums(): MeanSums {
    return [...this.known].map(([name, { sum, weight }]) => [name, String(sum), weight] as const);
  }

  static from(sums: MeanSums): MetricMeans {
    const means = new MetricMeans();
    for (const [name, sum, weight] of sums) means.known.set(name, { sum: Number(sum), weight });
    return means;
  }

  /** Returns the means, and the stage's metrics derived from them. */
  of(stage: Pick<Stage<never>, "derived">): Metrics {
    const some = [...this.known].filter(([, { weight }]) => weight > 0);
    const means = Object.fromEntries(some.map(([name, { sum, weight }]) => [name, sum / weight]));
    return { ...means, ...stage.derived?.(means) };
  }
}
