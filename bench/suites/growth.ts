// Measures how the time per token grows with the context (of a small model), with the sequences per step, and with the model's size.
// Prints JSON lines, which `npm run bench -- plot FILE` draws.

import type { Device } from "../../lib/graph/index.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { median, report } from "../measure.ts";
import { benchModel, shapeNames } from "../models.ts";

const DECODE = 16;
const CONTEXTS = [128, 512, 2048, 8192, 32_768, 131_072];
const BATCHES = [1, 2, 4, 8, 16, 32];
/** Numbers of layers that vary the size of the small models, which all have width 512. */
const DEPTHS = [2, 4, 8, 16, 32];

/** Returns prompts that differ in their first token, because a common prefix would be computed only once. */
const promptOf = (length: number, which = 0) => Array.from({ length }, (_, i) => 3 + ((which + i * 7919) % 250));
const options = { maxTokens: DECODE + 1, temperature: 0, ignoreEos: true } as const;

/** Returns the milliseconds of a decode step over all prompts, without their prefill. */
async function stepMs(model: LanguageModel, prompts: number[][]): Promise<number> {
  const { timings } = (await model.completeAll(prompts, options))[0]!;
  return (1000 * prompts.length) / timings.decodeTokensPerSecond;
}

export async function benchGrowth(device: Device, { rounds = 5 } = {}): Promise<void> {
  await contexts(device, rounds);
  await batches(device, rounds);
  await sizes(device, rounds);
}

async function contexts(device: Device, rounds: number): Promise<void> {
  const shape = {
    hiddenSize: 256,
    intermediateSize: 512,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
  };
  await using model = createModel(
    { modelType: "llama", ...shape, vocabSize: 512, maxPositionEmbeddings: 131_072 + 1024, tieWordEmbeddings: true },
    { device, seed: 1 },
  );
  for (const length of CONTEXTS) {
    const session = model.session();
    const prompt = promptOf(length - 1);
    await session.complete(prompt, { ...options, maxTokens: 1 });
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      session.truncate(length - 2);
      const { timings } = await session.complete(prompt, options);
      times.push(1000 / timings.decodeTokensPerSecond);
    }
    session.dispose();
    report({
      plot: "context",
      x: length,
      milliseconds: round3(median(times)),
      kilobytesOfCache: (length * 2 * 2 * 2 * 64 * 4) / 1024,
    });
  }
}

async function batches(device: Device, rounds: number): Promise<void> {
  for (const name of shapeNames) {
    await using model = await LanguageModel.load(await benchModel(name, device), { device });
    for (const batch of BATCHES) {
      const prompts = Array.from({ length: batch }, (_, which) => promptOf(32, which));
      const times: number[] = [];
      for (let round = -1; round < rounds; round++) {
        const ms = await stepMs(model, prompts);
        if (round >= 0) times.push(ms);
      }
      report({ plot: "batch", series: `${name} bf16`, x: batch, milliseconds: round3(median(times)) });
    }
  }
}

async function sizes(device: Device, rounds: number): Promise<void> {
  for (const layers of DEPTHS) {
    const shape = {
      hiddenSize: 512,
      intermediateSize: 1536,
      numHiddenLayers: layers,
      numAttentionHeads: 8,
      numKeyValueHeads: 8,
    };
    await using model = createModel(
      { modelType: "llama", ...shape, vocabSize: 2048, maxPositionEmbeddings: 512, tieWordEmbeddings: true },
      { device, seed: 1 },
    );
    const times: number[] = [];
    for (let round = -1; round < rounds; round++) {
      const ms = await stepMs(model, [promptOf(32)]);
      if (round >= 0) times.push(ms);
    }
    report({ plot: "size", x: model.model.weightBytes / 1e6, milliseconds: round3(median(times)) });
  }
}

const round3 = (x: number) => Math.round(x * 1000) / 1000;
