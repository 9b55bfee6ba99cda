import { describe, HeddleError } from "../../core/errors.ts";
import type { PoolingMode } from "../../formats/config/config.ts";
import { POOLING_MODES } from "../../formats/sentence-transformers/embedding-schema.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, needTokenizer, openModel } from "../options/model-options.ts";
import { textBatches, textOptions } from "../options/texts.ts";
import { shortFloat } from "../terminal/output.ts";

/** Parses a pooling mode, or several separated by commas. */
function poolingOf(given: string): PoolingMode | PoolingMode[] {
  const modes = given.split(",").map((name) => {
    const mode = POOLING_MODES.find((one) => one === name);
    if (mode) return mode;
    const expected = name === "cls" ? "first, which is the name of cls pooling" : POOLING_MODES.join(", ");
    throw new HeddleError("INVALID_ARGUMENT", `pooling: expected ${expected}, got ${describe(name)}`);
  });
  return modes.length === 1 ? modes[0]! : modes;
}

export const command = defineCommand({
  about: "Computes the embedding of a text and prints the vector.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...textOptions,
    pooling: {
      kind: "string",
      value: POOLING_MODES.join("|"),
      about: "pooling of the hidden states, comma-separated if several (default: the model's)",
    },
    "prompt-name": {
      kind: "string",
      value: "NAME",
      about: "name of one of the model's prompts to prepend to each text",
    },
    prompt: {
      kind: "string",
      value: "TEXT",
      about: "text to prepend to each text, instead of one of the model's prompts",
    },
    "truncate-dim": { kind: "integer", value: "N", about: "keep only the first N dimensions of a vector" },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const { truncation, prompt, "prompt-name": promptName, "truncate-dim": truncateDim } = options;
    if (prompt !== undefined && promptName !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", "prompt: cannot be combined with --prompt-name");
    const pooling = options.pooling === undefined ? undefined : poolingOf(options.pooling);
    const model = await openModel(options);
    try {
      needTokenizer(model);
      for await (const batch of textBatches(positionals, options.file)) {
        const texts = batch.texts.map((text) => (typeof text === "string" ? text : text.join(" ")));
        const vectors = await batch.withRowErrors(
          model.embed(texts, { truncation, pooling, prompt, promptName, truncateDim }),
        );
        for (const vector of vectors) {
          const embedding = Array.from(vector, shortFloat);
          if (out.json) out.object({ embedding });
          else out.line(embedding.join(" "));
        }
      }
    } finally {
      await model.dispose();
    }
  },
});
