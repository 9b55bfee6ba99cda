// encodeUpTo stops after a given number of ids.
import { expect, test } from "vitest";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { added, byteLevelJson, fromJson, llamaNormalizer } from "./samples.ts";

const tokens = { added_tokens: [added(256, "<|end|>")] };
const tokenizers = {
  "byte-level": fromJson(byteLevelJson([], tokens)),
  normalized: fromJson(byteLevelJson([], { ...tokens, normalizer: llamaNormalizer })),
};

test.each(Object.entries(tokenizers))(
  "encodeUpTo gives the first ids of each text, at most one more than the limit: %s",
  async (_, tokenizer) => {
    const texts = ["ab cd ".repeat(50_000), "a", "x".repeat(40_000), "<|end|>".repeat(30_000), "ab cd ".repeat(20)];
    const options = { allowSpecial: true };
    const whole = await tokenizer.encodeBatch(texts, options);
    for (const most of [0, 1, 119, 120, 5000, 1e6]) {
      const cut = await tokenizer.encodeUpTo(texts, most, options);
      expect(cut).toHaveLength(texts.length);
      for (const [i, ids] of cut.entries()) expect([...ids]).toEqual([...whole[i]!.subarray(0, most + 1)]);
    }
  },
);

test("a text that is far too long for the context is refused without being encoded whole", async () => {
  const model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 64 });
  const text = "The cat sat. ".repeat(400_000);
  /** Least user time of five runs: other threads and the JIT compiler add processor time to some of them. */
  const userTime = async (work: () => Promise<unknown>) => {
    const times: number[] = [];
    for (let run = 0; run < 5; run++) {
      const before = process.cpuUsage();
      await work();
      times.push(process.cpuUsage(before).user);
    }
    return Math.min(...times);
  };
  const refusal = {
    code: "CONTEXT_OVERFLOW",
    message: expect.stringMatching(/^prompt: expected at most 64 tokens, the context length, got more/),
  };
  const refused = await userTime(async () => {
    expect(await failureOf(() => model.complete(text))).toEqual(refusal);
  });
  const encoded = await userTime(() => model.tokenizer!.encodeAsync(text));
  expect(refused).toBeLessThan(encoded / 2);
  await model.dispose();
});
