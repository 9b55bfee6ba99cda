import { HeddleError } from "../../core/errors.ts";
import type { Classification, TokenClassification } from "../../language-model/index.ts";
import { classifierOf } from "../../models/heads.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, needTokenizer, openModel } from "../options/model-options.ts";
import { textBatches, textOptions } from "../options/texts.ts";
import type { Output } from "../terminal/output.ts";

export const command = defineCommand({
  about:
    "Classifies a text (or each of its words) and prints probabilities. Requires a model with a classification head.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: { ...textOptions, ...loadOptions },
  async run({ options, positionals, out }) {
    const { file, truncation } = options;
    const model = await openModel(options);
    try {
      needTokenizer(model);
      const words = classifierOf(model.config).task === "token";
      // Refuse truncation for words, because truncated words would have no label.
      if (words && truncation)
        throw new HeddleError("INVALID_ARGUMENT", "truncation: expected a text classifier, got a token classifier");
      for await (const batch of textBatches(positionals, file)) {
        if (words)
          for (const [i, text] of batch.texts.entries())
            showWords(out, await batch.withRowErrors(model.classifyTokens(text), i));
        else
          for (const answer of await batch.withRowErrors(model.classify(batch.whole(), { truncation })))
            show(out, answer, file === undefined);
      }
    } finally {
      await model.dispose();
    }
  },
});

function show(out: Output, answer: Classification, alone: boolean): void {
  if (out.json) return void out.object(answer);
  if (answer.value !== undefined) return void out.line(String(answer.value));
  if (!alone) return void out.line(rowOf(answer));
  const sorted = Object.entries(answer.probabilities).sort(([, a], [, b]) => b - a);
  const width = Math.max(...sorted.map(([label]) => label.length));
  for (const [label, p] of sorted.slice(0, 20))
    out.line(`${label.padEnd(width)}  ${p.toFixed(4)}  ${"█".repeat(Math.round(p * 40))}`);
}

/** Returns the labels that apply and their probabilities. If none applies, the probability is that of the likeliest label. */
function rowOf({ label, labels = [label], probabilities }: Classification): string {
  const shown = labels.length > 0 ? labels : [label];
  const names = labels.length > 0 ? labels.join(", ") : `none (${label})`;
  return `${names}\t${shown.map((name) => probabilities[name]!.toFixed(4)).join(", ")}`;
}

function showWords(out: Output, words: readonly TokenClassification[]): void {
  if (out.json) return void out.object({ tokens: words });
  for (const { text, label, probabilities } of words)
    out.line(`${text}\t${label}\t${probabilities[label]!.toFixed(4)}`);
  out.line();
}
