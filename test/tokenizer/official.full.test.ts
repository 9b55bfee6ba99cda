// Two million generated strings beside the official library (npm tokenizers 0.23.2, below HEDDLE_TOKENIZER_ORACLE).
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { families, generator, randomText } from "./generated.ts";

interface Official {
  encode(text: string): Promise<{ getIds(): number[] }>;
  decode(ids: number[], skipSpecialTokens: boolean): Promise<string>;
}

const folder = process.env.HEDDLE_TOKENIZER_ORACLE;
const total = 2_000_000;
const all = Object.entries(families());

describe.skipIf(folder === undefined)("official library", () => {
  it.each(all.map(([name, json], index) => ({ name, json, index })))("$name", async ({ json, index }) => {
    const { Tokenizer: Library } = createRequire(`${folder}/`)("tokenizers") as {
      Tokenizer: { fromString(json: string): Official };
    };
    const text = JSON.stringify(json);
    const official = Library.fromString(text);
    const tokenizer = Tokenizer.fromFiles({ tokenizer: text });
    const random = generator(1_000_003 * (index + 1));
    for (let i = 0; i < Math.ceil(total / all.length); i++) {
      const sample = randomText(random);
      const ids = (await official.encode(sample.toWellFormed())).getIds();
      const ours = tokenizer.encode(sample);
      // Comparing text is cheaper than expect on arrays, two million times.
      if (ours.join() !== ids.join()) expect([...ours], JSON.stringify(sample)).toEqual(ids);
      if (i % 4 > 0) continue;
      const decoded = await official.decode(ids, i % 8 === 0);
      const mine = tokenizer.decode(ids, { skipSpecialTokens: i % 8 === 0 });
      if (mine !== decoded) expect(mine, JSON.stringify(sample)).toBe(decoded);
    }
  });
});
