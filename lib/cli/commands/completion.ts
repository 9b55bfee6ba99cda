import { invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { defineCommand } from "../command.ts";
import { commands } from "../command-list.ts";
import { completeLine, completionLines, joinBashWords } from "../shell/complete-line.ts";
import { scripts } from "../shell/scripts.ts";

export const command = defineCommand({
  about:
    "Prints a script that completes heddle's commands, options, values, files and models in a shell. A comment in the script says where to put it. With INDEX and WORDS, lists the completions of the word at that index of a command line.",
  positionals: { usage: "bash|zsh|fish|powershell [INDEX -- WORDS...]", least: 1, most: 10_000 },
  options: {},
  without: { model: "no model", device: "no device", threads: "no threads", profile: "no profile" },
  async run({ positionals: [shell, at, ...words], out }) {
    const script = shell !== undefined && Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
    if (script === undefined) throw invalidArgument("arguments", `one of ${Object.keys(scripts).join(", ")}`, shell);
    if (at === undefined) {
      if (out.json) out.object({ shell, script });
      else out.line(script);
      return;
    }
    const index = Number(at);
    if (!isWhole(index)) throw invalidArgument("arguments", "the index of a word", at);
    const isBash = shell === "bash";
    const typed = { before: words.slice(0, index), current: words[index] ?? "", cut: 0 };
    const { before, current, cut } = isBash ? joinBashWords(words, index) : typed;
    const found = await completeLine(before, current, commands);
    if (out.json) out.object(found);
    else out.line(completionLines(found, { cut, describes: !isBash }));
  },
});
