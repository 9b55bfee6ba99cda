import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { documentsOf } from "../../eval/documents.ts";
import { multipleChoice, type Normalization, questionAnswering, type TaskResult } from "../../eval/index.ts";
import { perplexity } from "../../eval/perplexity.ts";
import type { LanguageModel } from "../../language-model/index.ts";
import type { Calibration } from "../../metrics/calibration.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import type { Output } from "../terminal/output.ts";
import { needWritable, writeText } from "../terminal/output-file.ts";
import { WorkProgress } from "../terminal/work-progress.ts";

/** The tasks that accept an option, for options that only some tasks accept. */
const TASKS: Readonly<Record<string, readonly string[]>> = {
  "document-separator": ["perplexity"],
  stride: ["perplexity"],
  normalization: ["choice"],
  match: ["qa"],
  "max-tokens": ["qa"],
  confidence: ["qa"],
  decline: ["choice", "qa"],
  template: ["choice", "qa"],
  system: ["choice", "qa"],
  "no-chat": ["choice", "qa"],
  answers: ["choice", "qa"],
};

export const command = defineCommand({
  about: "Evaluates a model: perplexity, multiple choice, or question answering with calibration and abstention.",
  options: {
    file: {
      kind: "string",
      value: "F",
      about: "text or .jsonl file; choice and qa need rows with a question and answers (required)",
    },
    task: { kind: "string", value: "perplexity|choice|qa", about: "what to evaluate (default: perplexity)" },
    "document-separator": {
      kind: "string",
      value: "file|blank-line|line|TEXT",
      about: "perplexity: separator of documents in a text file (default: file, the whole file is one document)",
    },
    stride: {
      kind: "integer",
      value: "N",
      about: "perplexity: stride of the sliding window in tokens (default: half the context)",
    },
    normalization: {
      kind: "string",
      value: "none|tokens|characters|bytes",
      about: "choice: normalization of log-likelihoods (default: none)",
    },
    match: {
      kind: "string",
      value: "exact|contains",
      about: "qa: the answer must equal or contain an accepted one (default: exact)",
    },
    "max-tokens": { kind: "integer", value: "N", about: "qa: maximum number of tokens per answer (default: 48)" },
    confidence: {
      kind: "string",
      value: "sequence|token",
      about: "qa: probability of the whole answer (sequence, the default) or geometric mean over its tokens (token)",
    },
    decline: {
      kind: "string",
      value: "REGEX",
      about: "choice, qa: regular expression that matches an answer that declines; may be repeated",
      repeated: true,
    },
    template: {
      kind: "string",
      value: "T",
      about: "choice, qa: text template of a question, with the placeholder {question}",
    },
    system: { kind: "string", value: "TEXT", about: "choice, qa: system prompt for questions asked as a chat" },
    "no-chat": {
      kind: "flag",
      about: "choice, qa: ask questions as plain text even if the model has a chat template",
    },
    answers: { kind: "string", value: "OUT", about: "choice, qa: write the result of each row to a .jsonl file" },
    ...loadOptions,
  },
  async run({ options, out }) {
    const { task = "perplexity", file, stride } = options;
    if (task !== "perplexity" && task !== "choice" && task !== "qa")
      throw invalidArgument("--task", "perplexity, choice or qa", task);
    for (const [name, tasks] of Object.entries(TASKS))
      if (options[name as keyof typeof options] !== undefined && !tasks.includes(task))
        throw new HeddleError("INVALID_ARGUMENT", `--${name}: expected --task ${tasks.join(" or ")}, got ${task}`);
    if (file === undefined) throw new HeddleError("INVALID_ARGUMENT", "--file: expected a file, got none");
    const bar = new WorkProgress();
    const asked = {
      template: options.template,
      system: options.system,
      declines: options.decline?.map(pattern),
      ...(options["no-chat"] && { chat: false }),
      onProgress: ({ done, total }: { done: number; total: number }) =>
        bar.update(`${done.toLocaleString("en")} of ${total.toLocaleString("en")} questions`, done, total),
    };
    if (options.answers !== undefined) await needWritable(options.answers);
    const model = await openModel(options);
    try {
      if (task === "perplexity") {
        const result = await perplexity(
          model,
          documentsOf(file, { documentSeparator: options["document-separator"] }),
          {
            stride,
            onProgress: ({ tokens }) => bar.update(`${tokens.toLocaleString("en")} tokens`),
          },
        );
        bar.end();
        if (out.json) out.object(result);
        else
          out.line(
            `perplexity ${result.perplexity.toFixed(4)}  nll ${result.nll.toFixed(4)}  bits per byte ${result.bitsPerByte.toFixed(4)}  tokens ${result.tokens}`,
          );
        return;
      }
      const result = await measure(task, model, file, options, asked);
      bar.end();
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
  out.line(`accuracy          ${percent(accuracy)} of ${abstention.answerable} answerable questions`);
  if (f1 !== undefined) out.line(`F1 over words     ${percent(f1)}`);
  out.line(`calibration error ${ece.toFixed(4)}  (${level * 100} %: ${low.toFixed(4)} to ${high.toFixed(4)})`);
  out.line(`declined          ${percent(abstention.declined)} of ${abstention.unanswerable} unanswerable questions`);
  out.line(`wrongly declined  ${percent(abstention.wronglyDeclined)} of the answerable questions`);
  out.line();
  reliability(out, calibration);
}

/** Prints the share of correct answers by confidence, as bars. */
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
