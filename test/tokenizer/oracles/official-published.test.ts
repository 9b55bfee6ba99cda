// Published tokenizers match the official library on a seeded sample; official.full.test.ts has a million strings.
import { describe, expect, it } from "vitest";
import { fixtures } from "../../helpers/fixtures.ts";
import { oracleFolder } from "../files/packaged.ts";
import { loadPublished, published, textWith } from "../files/published.ts";
import { generator } from "../generated-text.ts";
import { expectEqual } from "./official-library.ts";

if (oracleFolder === undefined)
  console.warn("HEDDLE_TOKENIZER_ORACLE is not set: published tokenizers are not compared with the official library");

describe.skipIf(oracleFolder === undefined)("the official library", () => {
  const compared: string[] = [];

  for (const [index, { name, path }] of published.entries()) {
    it.skipIf(path === undefined)(`gives the same ids and texts for ${name}`, async () => {
      const { official, tokenizer } = await loadPublished(path!);
      await expectEqual(official, tokenizer, 3000, textWith(tokenizer, generator(31 * index + 1)));
      compared.push(name);
    });
  }

  // Last, because it counts the comparisons of the tests above.
  it("is compared for all installed families, of which CI has at least seven", () => {
    const installed = published.filter(({ path }) => path !== undefined).map(({ name }) => name);
    expect(compared).toEqual(installed);
    // Three are in the shared fixtures; .ci/run installs seven.
    expect(compared.length).toBeGreaterThanOrEqual(process.env.CI ? (fixtures ? 10 : 7) : 1);
  });
});

// Vitest fails a file without tests, so this one always runs.
it("the list of published tokenizers has fourteen families", () => {
  expect(new Set(published.map(({ name }) => name)).size).toBe(14);
});
