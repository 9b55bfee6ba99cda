import { HeddleError, invalidArgument } from "../errors.ts";
import { documentsOf } from "../eval/documents.ts";
import { perplexity } from "../eval/perplexity.ts";
import { defineCommand } from "./command.ts";
import { loadOptions, openModel } from "./model-options.ts";

export const command = defineCommand({
  about: "Measures a model on held-out text: a text file is one document, a .jsonl file one a row.",
  options: {
    file: { kind: "string", value: "F", about: "the text" },
    task: { kind: "string", value: "perplexity", about: "what to measure" },
    stride: { kind: "integer", value: "N", about: "tokens that a window moves by; half the context where not given" },
    ...loadOptions,
  },
  async run({ options, out }) {
    const { task = "perplexity", file, stride } = options;
    if (task === "choice" || task === "qa")
      throw new HeddleError(
        "UNSUPPORTED",
        `--task: expected perplexity, got ${task}, which this version does not measure`,
      );
    if (task !== "perplexity") throw invalidArgument("--task", "perplexity", task);
    if (file === undefined) throw new HeddleError("INVALID_ARGUMENT", "--file: expected a text file, got none");
    const model = await openModel(options);
    try {
      const result = await perplexity(model, documentsOf(file), { stride, onProgress: progress() });
      if (out.json) out.object(result);
      else
        out.line(
          `perplexity ${result.perplexity.toFixed(4)}  nll ${result.nll.toFixed(4)}  bits per byte ${result.bitsPerByte.toFixed(4)}  tokens ${result.tokens}`,
        );
    } finally {
      await model.dispose();
    }
  },
});

/** A live line on a terminal's stderr. */
function progress(): ((state: { tokens: number }) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return ({ tokens }) => process.stderr.write(`\r\x1b[2K${tokens.toLocaleString("en")} tokens\r`);
}
