import { defineCommand } from "../command.ts";
import { loadOptions, openModel } from "../options/model-options.ts";
import { promptOf } from "../options/prompt.ts";
import { shortFloat } from "../terminal/output.ts";

export const command = defineCommand({
  about: "Prints the model's next-token logits at each position.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: {
    "token-ids": { kind: "integers", value: "1,2,3", about: "text as token ids; needs no tokenizer" },
    last: { kind: "flag", about: "print only the last position" },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const prompt = await promptOf(positionals, options["token-ids"]);
    const model = await openModel(options);
    try {
      const rows = await model.logits(prompt, { last: options.last ?? false });
      if (out.json) {
        out.object({ logits: rows.map((row) => Array.from(row, shortFloat)) });
        return;
      }
      for (const [i, row] of rows.entries()) {
        const best = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
        const shown = best.slice(0, 5).map((id) => {
          const text = model.tokenizer ? ` ${JSON.stringify(model.tokenizer.tokenText(id))}` : "";
          return `${id}${text} ${row[id]!.toFixed(4)}`;
        });
        out.line(`${options.last ? "last" : i}: ${shown.join("  ")}`);
      }
    } finally {
      await model.dispose();
    }
  },
});
