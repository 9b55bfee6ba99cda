import { untilAborted } from "../../core/until-aborted.ts";
import { MetricMeans } from "./metric-mean.ts";
import { type Stage, someOf, type Totals, totalsOf } from "./stage.ts";
import type { TrainStep } from "./step.ts";
import type { BatchSource, EvalEvent } from "./trainer.ts";

/**
 * Measures the current model on the held-out batches.
 * @param agree asks all ranks before each batch whether they stop
 * @returns the loss and metrics over all batches. Without held-out batches, or if the loss counts none of their tokens, `tokens` is 0
 */
export async function measureHeldOut<Batch>(
  step: TrainStep<Batch>,
  stage: Stage<Batch>,
  source: Pick<BatchSource<Batch>, "evaluation">,
  signal: AbortSignal | undefined,
  agree: () => Promise<void>,
): Promise<Omit<EvalEvent, "step" | "maxSteps">> {
  if (!source.evaluation) return { tokens: 0 };
  const batches = () => untilAborted(source.evaluation!(signal), signal, "train");
  // If means are weighted by something other than counts, the sum over all batches is needed first.
  const totals = stage.weight && (await totalsOfAll(stage, batches()));
  let sum = 0;
  let tokens = 0;
  const means = new MetricMeans();
  const shares = new Map<string, number>();
  for await (const batch of batches()) {
    await agree();
    const { loss, counted, metrics, metricCounts } = await step.evaluate(batch, signal, totals);
    sum += totals ? loss : loss * counted;
    tokens += counted;
    const isShare = (name: string) => totals !== undefined && (stage.shares?.includes(name) ?? false);
    const entries = Object.entries(metrics);
    for (const [name, share] of entries) if (isShare(name)) shares.set(name, (shares.get(name) ?? 0) + share);
    means.add(Object.fromEntries(entries.filter(([name]) => !isShare(name))), counted, metricCounts);
  }
  // The loss counted no token, for instance because all drawn answers were truncated and left out. This is not an error: a later evaluation
  // may have tokens to count.
  if (tokens === 0) return { tokens };
  const evalLoss = totals ? sum : sum / tokens;
  return { evalLoss, tokens, ...someOf({ ...means.of(stage), ...Object.fromEntries(shares) }) };
}

async function totalsOfAll<Batch>(stage: Stage<Batch>, batches: AsyncIterable<Batch>): Promise<Totals> {
  const sums = { count: 0, weight: 0 };
  for await (const batch of batches) {
    const { count, weight } = totalsOf(stage, [batch]);
    sums.count += count;
    sums.weight += weight;
  }
  return sums;
}
