import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { documentsOf } from "../../eval/documents.ts";
import { multipleChoice, type Normalization, questionAnswering, type TaskResult } from "../../eval/index.ts";
import { perplexity } from "../../eval/perplexity.ts";
import type { LanguageModel } from "../../language-model/index.ts";
import type { Calibration } from "../../metrics/calibration.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import { isLive, over } from "../terminal/live-line.ts";
import type { Output } from "../terminal/output.ts";
import { needWritable, writeText } from "../terminal/output-file.ts";

export const command = defineCommand({
  about:
    "Measures a model: perplexity of text, multiple choice, or answers to questions, with calibration and abstention.",
  options: {
    file: { kind: "string", value: "F", about: "text or .jsonl; of choice and qa rows with a question and answers" },
    task: { kind: "string", value: "perplexity|choice|qa", about: "what to measure" },
    "document-separator": {
      kind: "string",
      value: "file|blank-line|line|TEXT",
      about:
        "perplexity: what documents of a text file are told apart by (file: it is one; pre-training has blank-line)",
    },
    stride: {
      kind: "integer",
      value: "N",
      about: "perplexity: tokens that a window moves by; half the context by default",
    },
    normalization: {
      kind: "string",
      value: "none|tokens|characters|bytes",
      about: "choice: what log-likelihoods are divided by",
    },
    match: { kind: "string", value: "exact|contains", about: "qa: whether the whole answer counts or what it holds" },
    "max-tokens": { kind: "integer", value: "N", about: "qa: most tokens of an answer (48)" },
    confidence: {
      kind: "string",
      value: "sequence|token",
      about: "qa: probability of the answer, or of a token on average",
    },
    decline: { kind: "string", value: "REGEX", about: "what an answer that declines looks like", repeated: true },
    template: { kind: "string", value: "T", about: "how a question is put as text; {question} stands for it" },
    system: { kind: "string", value: "TEXT", about: "instructions before a question that is put as a chat" },
    "no-chat": { kind: "flag", about: "put questions as text, also where the model has a chat template" },
    answers: { kind: "string", value: "OUT", about: "choice, qa: write what became of each row to a .jsonl file" },
    ...loadOptions,
  },
  async run({ options, out }) {
    const { task = "perplexity", file, stride } = options;
    if (task !== "perplexity" && task !== "choice" && task !== "qa")
      throw invalidArgument("--task", "perplexity, choice or qa", task);
    if (file === undefined) throw new HeddleError("INVALID_ARGUMENT", "--file: expected a file, got none");
    const asked = {
      template: options.template,
      system: options.system,
      declines: options.decline?.map(pattern),
      ...(options["no-chat"] && { chat: false }),
      onProgress: progress("questions"),
    };
    if (options.answers !== undefined) await needWritable(options.answers);
    const model = await openModel(options);
    try {
      if (task === "perplexity") {
        const onProgress = progress("tokens");
        const result = await perplexity(
          model,
          documentsOf(file, { documentSeparator: options["document-separator"] }),
          {
            stride,
            onProgress: onProgress && (({ tokens }) => onProgress({ done: tokens })),
          },
        );
        if (out.json) out.object(result);
        else
          out.line(
            `perplexity ${result.perplexity.toFixed(4)}  nll ${result.nll.toFixed(4)}  bits per byte ${result.bitsPerByte.toFixed(4)}  tokens ${result.tokens}`,
          );
        return;
      }
      const result = await measure(task, model, file, options, asked);
      if (options.answers !== undefined)
        await writeText(options.answers, result.answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
      const { answers: _, ...figures } = result;
      if (out.json) out.object(figures);
      else show(out, figures);
    } finally {
      await model.dispose();
    }
  },
});

function measure(
  task: "choice" | "qa",
  model: LanguageModel,
  file: string,
  options: { normalization?: string; match?: string; confidence?: string; "max-tokens"?: number },
  asked: object,
): Promise<TaskResult<object> & { f1?: number }> {
  if (task === "choice")
    return multipleChoice(model, file, { ...asked, normalization: options.normalization as Normalization });
  return questionAnswering(model, file, {
    ...asked,
    match: options.match as "exact",
    confidence: options.confidence as "sequence",
    maxTokens: options["max-tokens"],
  });
}

function pattern(source: string): RegExp {
  try {
    return new RegExp(source, "iu");
  } catch (error) {
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `--decline: expected a regular expression, got ${(error as Error).message}`,
    );
  }
}

function show(out: Output, figures: Omit<TaskResult<object>, "answers"> & { f1?: number }): void {
  const { accuracy, ece, abstention, calibration, count, f1 } = figures;
  const percent = (share: number | null) =>
    share === null || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`;
  const { low, high, level } = calibration.eceInterval;
  out.line(`questions         ${count}`);
  out.line(`accuracy          ${percent(accuracy)} of ${abstention.answerable} with a true answer`);
  if (f1 !== undefined) out.line(`F1 over words     ${percent(f1)}`);
  out.line(`calibration error ${ece.toFixed(4)}  (${level * 100} %: ${low.toFixed(4)} to ${high.toFixed(4)})`);
  out.line(`declined          ${percent(abstention.declined)} of ${abstention.unanswerable} without a true answer`);
  out.line(`wrongly declined  ${percent(abstention.wronglyDeclined)} of those with one`);
  out.line();
  reliability(out, calibration);
}

/** How often answers of a confidence are right, as bars. */
function reliability(out: Output, { bins }: Calibration): void {
  out.line("confidence    answers  right");
  for (const { from, to, count, accuracy } of bins) {
    if (count === 0) continue;
    const bar = "█".repeat(Math.round(accuracy! * 30)).padEnd(30, "·");
    out.line(
      `${from.toFixed(2)} to ${to.toFixed(2)}  ${String(count).padStart(7)}  ${bar} ${(100 * accuracy!).toFixed(0)} %`,
    );
  }
}

/** A live line on a terminal's stderr. */
function progress(noun: string): ((state: { done: number; total?: number }) => void) | undefined {
  if (!isLive()) return undefined;
  return ({ done, total }) => {
    const of = total === undefined ? "" : ` of ${total.toLocaleString("en")}`;
    process.stderr.write(`${over(`${done.toLocaleString("en")}${of} ${noun}`)}\r`);
  };
}
