import { HeddleError } from "../errors.ts";
import { loadTokenizerOf } from "../generate/index.ts";
import { defineCommand } from "./command.ts";
import { readJsonStrings, readLines } from "./lines.ts";

export const command = defineCommand({
  about: "Turns text into token ids.",
  positionals: { usage: "TEXT", least: 0, most: 1 },
  options: {
    file: { kind: "string", value: "F", about: "each line of a file instead: one JSON object a line" },
    jsonl: { kind: "flag", about: "with --file: every line is a JSON string" },
    "no-special-tokens": { kind: "flag", about: "add no BOS or EOS" },
  },
  async run({ options, positionals, out }) {
    const [text] = positionals;
    if ((text === undefined) === (options.file === undefined))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `tokenize: expected TEXT or --file, got ${text === undefined ? "neither" : "both"}`,
      );
    if (options.jsonl && options.file === undefined)
      throw new HeddleError("INVALID_ARGUMENT", "--jsonl: expected together with --file, got it alone");
    const tokenizer = await loadTokenizerOf(options.model ?? "default");
    const addSpecialTokens = !options["no-special-tokens"];
    const encoded = (line: string) => {
      const ids = Array.from(tokenizer.encode(line, { addSpecialTokens }));
      return { ids, tokens: ids.map((id) => tokenizer.idToToken(id) ?? ""), count: ids.length };
    };
    if (options.file !== undefined) {
      const lines = options.jsonl ? readJsonStrings(options.file) : readLines(options.file);
      for await (const line of lines) out.object(encoded(line));
      return;
    }
    const result = encoded(text!);
    if (out.json) out.object(result);
    else {
      for (const [i, id] of result.ids.entries())
        out.line(`${String(id).padStart(8)}  ${JSON.stringify(result.tokens[i])}`);
      out.line(`${result.count} tokens`);
    }
  },
});
