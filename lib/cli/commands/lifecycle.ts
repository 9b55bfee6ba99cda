import { HeddleError } from "../../core/errors.ts";
import type { LifecycleResult, StageMetrics } from "../../lifecycle/types.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { LifecycleProgress } from "../terminal/lifecycle-progress.ts";

export const command = defineCommand({
  about:
    "Trains a small language model from scratch, from tokenizer to preference tuning. Evaluates each stage and writes a report.",
  options: {
    out: {
      kind: "string",
      value: "DIR",
      about: "output folder (default: lifecycle); continues an existing run",
    },
    "budget-minutes": {
      kind: "number",
      value: "N",
      about: "approximate time budget on two cores, in minutes (default: 20)",
    },
    seed: { kind: "integer", value: "N", about: "random seed of data and training (default: 1)" },
    quick: { kind: "flag", about: "tiny model and few steps, for a smoke test; learns nothing" },
  },
  without: { model: "no model (the command trains its own)" },
  async run({ options, out }) {
    if (options.quick && options["budget-minutes"] !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", "--budget-minutes: cannot be combined with --quick");
    const { lifecycle } = await import("../../lifecycle/lifecycle.ts");
    const progress = new LifecycleProgress();
    const work = async (signal: AbortSignal) => {
      const run = lifecycle({
        ...(options.out !== undefined && { out: options.out }),
        ...(options["budget-minutes"] !== undefined && { budgetMinutes: options["budget-minutes"] }),
        ...(options.seed !== undefined && { seed: options.seed }),
        quick: options.quick ?? false,
        device: options.device,
        threads: options.threads,
        signal,
        onWarning: (message) => out.log(message),
      });
      try {
        for await (const event of run) {
          progress.update(event);
          if (out.json) out.object(event);
        }
      } finally {
        progress.end();
      }
      const result = await run;
      if (out.json) out.object(result);
      else for (const text of table(result)) out.line(text);
    };
    const advice = "finished work is kept; run the command again to continue";
    await interruptible("lifecycle", work, () => advice);
  },
});

/** Returns a table of each stage's held-out metrics before and after the stage. */
function table({ stages, missed, report }: LifecycleResult): string[] {
  const number = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(3)).padStart(8);
  const rows = stages.flatMap(({ name, metrics: { before, after } }) =>
    (Object.keys(after) as (keyof StageMetrics)[]).map(
      (metric, i) =>
        `${(i === 0 ? name : "").padEnd(10)} ${metric.padEnd(22)} ${number(before[metric])} ${number(after[metric])}`,
    ),
  );
  return [
    `${"stage".padEnd(10)} ${"held-out figure".padEnd(22)} ${"before".padStart(8)} ${"after".padStart(8)}`,
    ...rows,
    "",
    ...(missed.length > 0 ? [`The model missed its targets: it ${missed.join("; it ")}.`] : []),
    `Report: ${report}`,
  ];
}
