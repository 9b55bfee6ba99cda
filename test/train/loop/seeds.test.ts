// The seeds that stages accept. All of their bits affect the random numbers.
import { expect, test } from "vitest";
import { seedOf } from "../../../lib/models/random.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { stageSchemas } from "../options/stage-schemas.ts";

test("every stage accepts whole numbers from 0 to 2⁵³ − 1", () => {
  for (const { shape } of stageSchemas) {
    for (const seed of [0, 2 ** 32, Number.MAX_SAFE_INTEGER]) expect(shape.seed.parse(seed)).toBe(seed);
    for (const seed of [-1, 0.5, 2 ** 53, "1"]) expect(shape.seed.safeParse(seed).success).toBe(false);
  }
});

test("rejects an invalid seed and names it", async () => {
  await using base = tinyModel({ tokenizer: await tinyTokenizer() });
  expect(() => sft(base, { data: [{ text: "a" }], seed: -1 })).toThrow(
    /^seed: expected a whole number from 0 to 2\^53 - 1, got -1$/,
  );
});

test("seeds that differ only above 32 bits draw different noise", async () => {
  const lossOf = async (seed: number) => {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() });
    const data = [{ text: sentences[0]! }];
    const { loss } = await sft(base, { data, maxSteps: 1, perDeviceTrainBatchSize: 1, neftuneNoiseAlpha: 20, seed });
    return loss;
  };
  const losses = [await lossOf(3), await lossOf(3 + 2 ** 32), await lossOf(3 + 2 ** 50)];
  expect(new Set(losses).size).toBe(3);
  expect(await lossOf(3)).toBe(losses[0]);
});

test("seeds that differ only above 32 bits give different streams, and streams of 32-bit seeds stay the same", () => {
  expect(seedOf("a", 3)).not.toBe(seedOf("a", 3 + 2 ** 32));
  expect(seedOf("a", 7)).toBe(2961732686);
});
