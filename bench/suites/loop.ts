// Measures the overhead of the TypeScript loop: a decode step as users call it, against the same native program run back to back.

import type { Device } from "../../lib/graph/index.ts";
import { prefill } from "../../lib/inference/async-prefill.ts";
import { KvCache } from "../../lib/inference/cache/kv-cache.ts";
import { resolveOptions } from "../../lib/inference/generation-options.ts";
import { sampleProgram } from "../../lib/inference/programs.ts";
import { samplingInputs } from "../../lib/inference/sampling/sampling-inputs.ts";
import { Sequence } from "../../lib/inference/sequence.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { median, report } from "../measure.ts";
import { benchModel, shapeNames } from "../models.ts";

const STEPS = 64;

export async function benchLoop(device: Device, { rounds = 7, only = "" } = {}): Promise<void> {
  for (const name of shapeNames.filter((shape) => `decode loop ${shape} bf16`.includes(only))) {
    await using model = await LanguageModel.load(await benchModel(name, device), { device });
    const prompt = Array.from({ length: 16 }, (_, i) => 3 + i);
    const options = { maxTokens: STEPS + 1, temperature: 0, ignoreEos: true } as const;
    const whole: number[] = [];
    const native: number[] = [];
    for (let round = -1; round < rounds; round++) {
      const { timings } = await model.complete(prompt, options);
      const bare = await bareStep(model, prompt);
      if (round < 0) continue;
      whole.push(1000 / timings.decodeTokensPerSecond);
      native.push(bare);
    }
    const [a, b] = [median(whole), median(native)];
    report({
      name: `decode loop ${name} bf16`,
      loopMilliseconds: Math.round(a * 1000) / 1000,
      nativeMilliseconds: Math.round(b * 1000) / 1000,
      overheadPercent: Math.round((a / b - 1) * 1000) / 10,
    });
  }
}

/**
 * Returns the milliseconds of a step without the TypeScript loop. All steps are queued at once, so that the lane never waits for
 * JavaScript. Each step feeds the same id, because a step's time does not depend on the id.
 */
async function bareStep(model: LanguageModel, prompt: number[]): Promise<number> {
  const cache = new KvCache(model.model, { slots: 1, contextLength: 512 });
  await cache.reserve(256);
  await prefill(cache, 0, prompt);
  const resolved = resolveOptions({ temperature: 0 }, model.optionContext);
  const sequence = new Sequence(prompt, resolved, { index: 0, sample: 0, contextLength: 512, tokenizer: undefined });
  const draw = { sequence, ids: prompt };
  const inputs = { ...samplingInputs([draw], cache.shape.capacity), logitRows: Int32Array.of(0) };
  const shape = { rows: 256, logitRows: 1, top: 0 };
  const step = () => cache.run(sampleProgram, [{ slot: 0, ids: [3] }], { shape, inputs });
  await step();
  const start = performance.now();
  await Promise.all(Array.from({ length: STEPS }, step));
  const ms = (performance.now() - start) / STEPS;
  cache.dispose();
  return ms;
}
