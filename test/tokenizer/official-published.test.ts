// Published tokenizers beside the official library on a seeded sample; official.full.test.ts has a million strings.
import { describe, expect, it } from "vitest";
import { generator } from "./generated-text.ts";
import { expectEqual } from "./official-library.ts";
import { oracleFolder } from "./packaged.ts";
import { loadPublished, published, textWith } from "./published.ts";

it("at least ten families are compared where they are installed", () => {
  expect(published.length).toBeGreaterThanOrEqual(13);
});

describe.skipIf(oracleFolder === undefined)("official library", () => {
  for (const [index, { name, path }] of published.entries()) {
    it.skipIf(path === undefined)(name, async () => {
      const { official, tokenizer } = await loadPublished(path!);
      await expectEqual(official, tokenizer, 3000, textWith(tokenizer, generator(31 * index + 1)));
    });
  }
});
