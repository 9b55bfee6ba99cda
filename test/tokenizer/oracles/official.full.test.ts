// Compares two million generated strings with the official library (npm tokenizers 0.23.2, in HEDDLE_TOKENIZER_ORACLE):
// half on small tokenizers that together use every component, half on the published ones that are installed.
import { describe, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { oracleFolder } from "../files/packaged.ts";
import { loadPublished, published, textWith } from "../files/published.ts";
import { families, generator, randomText } from "../generated.ts";
import { expectEqual, officialLibrary } from "./official-library.ts";

const total = 2_000_000;
const all = Object.entries(families());

describe.skipIf(oracleFolder === undefined)("the official library", () => {
  it.each(all.map(([name, json], index) => ({ name, json, index })))(
    "gives the same ids and texts for $name",
    async ({ json, index }) => {
      const text = JSON.stringify(json);
      const random = generator(1_000_003 * (index + 1));
      const count = Math.ceil(total / 2 / all.length);
      const official = officialLibrary().Tokenizer.fromString(text);
      await expectEqual(official, Tokenizer.fromFiles({ tokenizer: text }), count, () => randomText(random));
    },
  );

  for (const [index, { name, path }] of published.entries()) {
    it.skipIf(path === undefined)(`gives the same ids and texts for the published ${name}`, async () => {
      const { official, tokenizer } = await loadPublished(path!);
      const next = textWith(tokenizer, generator(7_000_003 * (index + 1)));
      await expectEqual(official, tokenizer, Math.ceil(total / 2 / published.length), next);
    });
  }
});
