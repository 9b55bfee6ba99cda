import type { LifecycleResult, StageMetrics } from "../../lifecycle/types.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";
import { LifecycleProgress } from "../terminal/lifecycle-progress.ts";

export const command = defineCommand({
  about:
    "The life of a small language model, from nothing: tokenizer, pre-training, fine-tuning, preference tuning; each stage measured, and a report.",
  options: {
    out: {
      kind: "string",
      value: "DIR",
      about: "where everything goes (default: lifecycle); a run that is there goes on",
    },
    "budget-minutes": { kind: "number", value: "N", about: "about how long, on two cores (default: 20)" },
    seed: { kind: "integer", value: "N", about: "of the data and the training (default: 1)" },
    quick: { kind: "flag", about: "a tiny model and a few steps: shows the machinery, learns nothing" },
    resume: { kind: "flag", about: "go on with the run in DIR (as a run does anyway)" },
  },
  without: { model: "none (the lesson makes its own)" },
  async run({ options, out }) {
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
      for await (const event of run) {
        progress.update(event);
        if (out.json) out.object(event);
      }
      const result = await run;
      if (out.json) out.object(result);
      else for (const text of table(result)) out.line(text);
    };
    const goesOn = "what is done is kept, and running it again goes on from there";
    await interruptible("lifecycle", work, () => goesOn);
  },
});

/** Each stage's gain on held-out data. */
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
    ...(missed.length > 0 ? [`The model has not learned what it was to: it ${missed.join("; it ")}.`] : []),
    `The report is ${report}`,
  ];
}
