// Whole models against scripts/golden/models.py, an independent implementation in PyTorch float64.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { openDevice, Tensor } from "../../../lib/graph/index.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { Model } from "../../../lib/models/model.ts";
import { familyOf } from "../../../lib/models/registry.ts";
import { weightByName } from "../../golden/by-name.ts";
import { maxRowDifference } from "../../helpers/max-difference.ts";

interface Golden {
  name: string;
  config: Record<string, unknown>;
  prompt: number[];
  greedy: number[];
  logits: number[][];
}
const golden: Golden[] = JSON.parse(readFileSync(new URL("../../golden/models.json", import.meta.url), "utf8"));

async function build({ config: json }: Golden): Promise<LanguageModel> {
  const config = parseModelConfig(json);
  const device = openDevice();
  const weights = new Map<string, Tensor>();
  for (const [name, { shape }] of familyOf(config.modelType).weights(config)) {
    const isNorm = shape.length === 1 && name.endsWith(".weight");
    const around = isNorm && config.modelType !== "gemma" ? 1 : 0;
    weights.set(name, await Tensor.from(device, "f32", shape, weightByName(name, shape, around)));
  }
  return new LanguageModel({ model: await Model.fromWeights(config, device, weights) });
}

test.each(golden)("$name: logits, greedy tokens and log-probabilities equal the reference's", async (reference) => {
  await using model = await build(reference);
  const ids = [...reference.prompt, ...reference.greedy];
  const logits = await model.logits(ids.slice(0, reference.logits.length));
  const all = reference.logits.flat();
  const range = Math.max(...all) - Math.min(...all);
  const worst = maxRowDifference(reference.logits, logits);
  expect(worst).toBeLessThanOrEqual(1e-4 * range);

  const { tokens, logprobs } = await model.complete(reference.prompt, {
    maxTokens: reference.greedy.length,
    temperature: 0,
  });
  expect(tokens).toEqual(reference.greedy);
  // Log-probabilities follow from the reference's logits.
  for (let i = 0; i + reference.prompt.length <= reference.logits.length; i++) {
    const row = reference.logits[reference.prompt.length - 1 + i]!;
    const largest = Math.max(...row);
    const logSum = largest + Math.log(row.reduce((n, v) => n + Math.exp(v - largest), 0));
    expect(logprobs[i]).toBeCloseTo(row[reference.greedy[i]!]! - logSum, 3);
  }
});
