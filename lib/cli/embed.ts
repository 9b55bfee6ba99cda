import { HeddleError } from "../errors.ts";
import { defineCommand } from "./command.ts";
import { loadOptions, needTokenizer, openModel } from "./model-options.ts";
import { shortFloat } from "./output.ts";
import { textBatches, textOptions } from "./texts.ts";

export const command = defineCommand({
  about: "Turns a text into a vector: prints its numbers.",
  positionals: { usage: "TEXT (- reads stdin)", least: 0, most: 1 },
  options: {
    ...textOptions,
    pooling: { kind: "string", value: "mean|last|first", about: "of the hidden states, instead of the model's own" },
    ...loadOptions,
  },
  async run({ options, positionals, out }) {
    const { pooling, truncation } = options;
    if (pooling !== undefined && pooling !== "mean" && pooling !== "last" && pooling !== "first")
      throw new HeddleError("INVALID_ARGUMENT", `pooling: expected mean, last or first, got ${pooling}`);
    const model = await openModel(options);
    try {
      needTokenizer(model);
      for await (const batch of textBatches(positionals, options.file)) {
        const texts = batch.texts.map((text) => (typeof text === "string" ? text : text.join(" ")));
        const vectors = await batch.made(model.embed(texts, { truncation, ...(pooling && { pooling }) }));
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
