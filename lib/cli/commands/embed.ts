import { describe, HeddleError } from "../../core/errors.ts";
import type { PoolingMode } from "../../formats/config/config.ts";
import { POOLING_MODES } from "../../formats/sentence-transformers/embedding-schema.ts";
import { defineCommand } from "../command.ts";
import { loadOptions, needTokenizer, openModel } from "../options/model-options.ts";
import { textBatches, textOptions } from "../options/texts.ts";
import { shortFloat } from "../terminal/output.ts";

/** One way of pooling, or several between commas. */
function poolingOf(given: string): PoolingMode | PoolingMode[] {
  const modes = given.split(",").map((name) => {
    const mode = POOLING_MODES.find((one) => one === name);
    if (mode) return mode;
    const expected = name === "cls" ? "first, which is what others call cls" : POOLING_MODES.join(", ");
    throw new HeddleError("INVALID_ARGUMENT", `pooling: expected ${expected}, got ${describe(name)}`);
  });
  return modes.length === 1 ? modes[0]! : modes;
}

export const command = defineCommand({
  about: "Turns a text into a vector: prints its numbers.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...textOptions,
    pooling: {
      kind: "string",
      value: POOLING_MODES.join("|"),
      about: "of the hidden states, instead of the model's own; several between commas",
    },
    "prompt-name": { kind: "string", value: "NAME", about: "one of the model's prompts, in front of each text" },
    prompt: {
      kind: "string",
      value: "TEXT",
      about: "what to put in front of each text, instead of one of the model's",
    },
    "truncate-dim": { kind: "integer", value: "N", about: "only the first N numbers of a vector" },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const { truncation, prompt, "prompt-name": promptName, "truncate-dim": truncateDim } = options;
    if (prompt !== undefined && promptName !== undefined)
      throw new HeddleError("INVALID_ARGUMENT", "prompt: expected either a text or --prompt-name, got both");
    const pooling = options.pooling === undefined ? undefined : poolingOf(options.pooling);
    const model = await openModel(options);
    try {
      needTokenizer(model);
      for await (const batch of textBatches(positionals, options.file)) {
        const texts = batch.texts.map((text) => (typeof text === "string" ? text : text.join(" ")));
        const vectors = await batch.made(model.embed(texts, { truncation, pooling, prompt, promptName, truncateDim }));
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
