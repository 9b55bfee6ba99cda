import { spawn } from "node:child_process";
import { HeddleError } from "../../core/errors.ts";
import { openRanking } from "../../rank/index.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";

export const command = defineCommand({
  about: "Opens a page on this machine where people say which of a model's answers is better.",
  options: {
    prompts: {
      kind: "string",
      value: "F",
      about: "a .jsonl file of prompts, questions or messages, or a prompt a line",
    },
    out: { kind: "string", value: "OUT", about: "the .jsonl file of votes, which train dpo and train reward read" },
    answers: { kind: "integer", value: "N", about: "answers a prompt (2)" },
    temperature: { kind: "number", value: "T", about: "of the answers (0.9)" },
    "top-p": { kind: "number", value: "P", about: "of the answers" },
    "max-tokens": {
      kind: "integer",
      value: "N",
      about: "of an answer at most (256, or what the context has room for)",
    },
    seed: { kind: "integer", value: "N", about: "the same seed gives the same answers (0)" },
    "no-chat": { kind: "flag", about: "prompts are beginnings of texts, also where the model has a chat template" },
    port: { kind: "integer", value: "N", about: "of the page; a free one where not given" },
    "no-open": { kind: "flag", about: "print the page's address only" },
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
      else out.line(`The page is at ${ranking.url} (Ctrl-C ends it; every vote is in ${votes} at once).`);
      if (!options["no-open"]) openBrowser(ranking.url);
      await new Promise<void>((resolve) => {
        process.once("SIGINT", resolve);
        process.once("SIGTERM", resolve);
      });
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
  child.on("error", () => {}); // the address is printed all the same
  child.unref();
}
