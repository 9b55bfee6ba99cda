// A trained model sorts six digits of {0, 1, 2}. The test runs all 3⁶ inputs.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { fixtures } from "../../helpers/fixtures.ts";

describe.skipIf(!fixtures)("gpt-nano-sort", () => {
  test("sorts 729 of 729 inputs", async () => {
    await using model = await LanguageModel.load(join(fixtures!, "gpt-nano-sort"));
    const prompts = Array.from({ length: 729 }, (_, i) =>
      Array.from({ length: 6 }, (_, d) => Math.floor(i / 3 ** d) % 3),
    );
    const results = await model.completeAll(prompts, { maxTokens: 6, temperature: 0 });
    const sorted = results.filter(({ tokens }, i) => tokens.join() === prompts[i]!.sort().join());
    expect(sorted).toHaveLength(729);
  });
});
