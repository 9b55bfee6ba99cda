// HEDDLE_CHECK=1 runs every node beside its reference: of what this package computes rightly it must not complain.
import { expect, test } from "vitest";
import { LanguageModel } from "../../lib/generate/index.ts";

test("the embedded model generates with every node checked", async () => {
  const before = process.env.HEDDLE_CHECK;
  process.env.HEDDLE_CHECK = "1"; // read when programs are made
  try {
    await using model = await LanguageModel.load("default", { threads: 2 });
    for (const length of [3, 40]) {
      const prompt = Array.from({ length }, (_, i) => 5 + ((i * 37) % 900));
      const { tokens } = await model.complete(prompt, { maxTokens: 4, temperature: 0, ignoreEos: true });
      expect(tokens).toHaveLength(4);
    }
  } finally {
    if (before === undefined) delete process.env.HEDDLE_CHECK;
    else process.env.HEDDLE_CHECK = before;
  }
});
