import type { Metrics, Stage } from "./stage.ts";

/** Sums as JSON keeps them: as text, because it has no NaN and no infinity. */
export type MeanSums = readonly (readonly [name: string, sum: string, weight: number])[];

/** Means of metrics over batches, steps or ranks, each over those that have it: one without a good answer says nothing of good ones. */
export class MetricMeans {
  private readonly known = new Map<string, { sum: number; weight: number }>();

  /**
   * @param weight of what these metrics are means over
   * @param own weights of single metrics, instead
   */
  add(metrics: Metrics, weight: number, own: Metrics = {}): void {
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value !== "number") continue; // JSON has no number for what is none
      const one = (Object.hasOwn(own, name) ? own[name] : undefined) ?? weight;
      const before = this.known.get(name) ?? { sum: 0, weight: 0 };
      this.known.set(name, { sum: before.sum + value * one, weight: before.weight + one });
    }
  }

  /** For a checkpoint. */
  get sums(): MeanSums {
    return [...this.known].map(([name, { sum, weight }]) => [name, String(sum), weight] as const);
  }

  static from(sums: MeanSums): MetricMeans {
    const means = new MetricMeans();
    for (const [name, sum, weight] of sums) means.known.set(name, { sum: Number(sum), weight });
    return means;
  }

  /** What follows from the means of a stage's metrics is in it as well. */
  of(stage: Pick<Stage<never>, "derived">): Metrics {
    const some = [...this.known].filter(([, { weight }]) => weight > 0);
    const means = Object.fromEntries(some.map(([name, { sum, weight }]) => [name, sum / weight]));
    return { ...means, ...stage.derived?.(means) };
  }
}
