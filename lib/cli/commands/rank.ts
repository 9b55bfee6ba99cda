import { spawn } from "node:child_process";
import { HeddleError } from "../../core/errors.ts";
import { openRanking } from "../../rank/index.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import { StopSignals } from "../terminal/stop-signals.ts";

export const command = defineCommand({
  about: "Opens a local web page for ranking a model's answers by preference.",
  options: {
    prompts: {
      kind: "string",
      value: "F",
      about: ".jsonl file of prompts, questions or messages, or text file with one prompt per line (required)",
    },
    out: {
      kind: "string",
      value: "OUT",
      about: ".jsonl file to save votes to, readable by train dpo and train reward (required)",
    },
    answers: { kind: "integer", value: "N", about: "number of answers per prompt (default: 2)" },
    temperature: { kind: "number", value: "T", about: "sampling temperature (default: 0.9)" },
    "top-p": {
      kind: "number",
      value: "P",
      about: "sample from the smallest set of most likely tokens with total probability P",
    },
    "max-tokens": {
      kind: "integer",
      value: "N",
      about: "maximum number of tokens per answer (default: 256, or the space left in the context)",
    },
    seed: { kind: "integer", value: "N", about: "random seed; the same seed gives the same answers (default: 0)" },
    "no-chat": { kind: "flag", about: "continue prompts as plain text even if the model has a chat template" },
    port: { kind: "integer", value: "N", about: "port of the page (default: a free port)" },
    "no-open": { kind: "flag", about: "print the address without opening a browser" },
    ...loadOptions,
  },
  async run({ options, out }) {
    const { prompts, out: votes } = options;
    if (prompts === undefined) throw new HeddleError("INVALID_ARGUMENT", "--prompts: expected a file, got none");
    if (votes === undefined) throw new HeddleError("INVALID_ARGUMENT", "--out: expected a file, got none");
    const model = await openModel(options);
    try {
      const ranking = await openRanking(model, {
        prompts,
        out: votes,
        numAnswers: options.answers,
        temperature: options.temperature,
        topP: options["top-p"],
        maxTokens: options["max-tokens"],
        seed: options.seed,
        port: options.port,
        ...(options["no-chat"] && { chat: false }),
      });
      if (out.json) out.object({ url: ranking.url, ...figures(ranking.state) });
      else
        out.line(`Serving the page at ${ranking.url} (votes are saved to ${votes} immediately; press Ctrl-C to stop)`);
      if (!options["no-open"]) openBrowser(ranking.url);
      await new StopSignals().first();
      const last = figures(ranking.state);
      await ranking.close();
      if (out.json) out.object({ done: true, ...last });
      else
        out.line(
          `${last.judged} of ${last.total} judged${last.dismissed > 0 ? `, ${last.dismissed} of them dismissed` : ""}.`,
        );
    } finally {
      await model.dispose();
    }
  },
});

function figures({ total, judged, dismissed }: { total: number; judged: number; dismissed: number }) {
  return { total, judged, dismissed };
}

/** Opens the URL in the user's browser, if any. */
function openBrowser(url: string): void {
  const [program, args] =
    process.platform === "darwin"
      ? (["open", [url]] as const)
      : process.platform === "win32"
        ? (["cmd", ["/c", "start", "", url]] as const)
        : (["xdg-open", [url]] as const);
  const child = spawn(program, args, { stdio: "ignore", detached: true });
  child.on("error", () => {}); // the address was printed anyway
  child.unref();
}
