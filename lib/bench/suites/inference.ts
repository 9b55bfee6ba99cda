import { rm } from "node:fs/promises";
import { LanguageModel } from "../../language-model/language-model.ts";
import { type FileType, randomModels, type ShapeName } from "../models.ts";
import type { BenchCase, BenchSuite, SuiteContext } from "../types.ts";

const PROMPT = 512;
const DECODE = 32;
const BATCH = 8;

/** Prefill, and decoding of one sequence and of several at once, through the public API. */
export const inferenceSuite: BenchSuite = async function* (context) {
  const { model, scratch, quick, device } = context;
  if (model !== undefined) {
    yield* casesOf(model, model, context);
    return;
  }
  const cuda = device.kind === "cuda";
  const shapes: ShapeName[] = quick ? ["tiny"] : cuda ? ["135M"] : ["15M", "135M"];
  const types: FileType[] = quick ? ["q8_0"] : ["bf16", "q8_0", "q4_0"];
  for (const shape of shapes)
    for (const [type, file] of await randomModels(shape, types, { device, folder: scratch })) {
      yield* casesOf(`${shape} ${type}`, file, context);
      await rm(file);
    }
};

async function* casesOf(label: string, path: string, { device, quick }: SuiteContext): AsyncGenerator<BenchCase> {
  await using model = await LanguageModel.load(path, { device });
  const [promptLength, newTokens] = quick ? [16, 4] : [PROMPT, DECODE];
  if (model.contextLength < promptLength + newTokens) return;
  const { vocabSize } = model.config;
  const promptOf = (first: number) =>
    Array.from({ length: promptLength }, (_, i) => (first + i * 7919) % Math.min(vocabSize, 256));
  const greedy = { temperature: 0, numBeams: 1, ignoreEos: true } as const;
  const prompt = promptOf(3);

  const fresh = model.session();
  yield {
    name: `prefill ${promptLength} ${label}`,
    unit: "tokens/s",
    work: promptLength,
    bound: { ceiling: "bf16", amount: 2 * matrixParameters(model) * promptLength },
    async run() {
      fresh.truncate(0);
      const start = performance.now();
      await fresh.complete(prompt, { ...greedy, maxTokens: 1 });
      return (performance.now() - start) / 1000;
    },
  };
  // The session already holds the prompt. Each round truncates the session to the prompt without its last token.
  yield {
    name: `decode 1 ${label}`,
    unit: "tokens/s",
    work: newTokens,
    bound: { ceiling: "read", amount: bytesPerStep(model) * newTokens },
    async run() {
      fresh.truncate(promptLength - 1);
      const { timings } = await fresh.complete(prompt, { ...greedy, maxTokens: newTokens + 1 });
      return newTokens / timings.decodeTokensPerSecond;
    },
  };
  fresh.dispose();
  const prompts = Array.from({ length: BATCH }, (_, i) => promptOf(i).slice(0, 16));
  yield {
    name: `decode ${BATCH} ${label}`,
    unit: "tokens/s",
    work: newTokens * BATCH,
    bound: { ceiling: "read", amount: bytesPerStep(model) * newTokens },
    async run() {
      const all = await model.completeAll(prompts, { ...greedy, maxTokens: newTokens + 1 });
      return (newTokens * BATCH) / all[0]!.timings.decodeTokensPerSecond;
    },
  };
}

/** Returns the bytes of weights that a decoding step reads: all except an untied embedding table, of which a step reads only single rows. */
function bytesPerStep({ model, config }: LanguageModel): number {
  return model.weightBytes - (config.tieWordEmbeddings ? 0 : tableOf(model).bytes);
}

/**
 * Returns the number of parameters that each prompt token is multiplied with. The embedding is excluded, because it is a lookup, and the
 * head, because it processes only the last row.
 */
function matrixParameters({ model, config }: LanguageModel): number {
  return model.parameterCount - (config.tieWordEmbeddings ? 1 : 2) * tableOf(model).elements;
}

/** Returns the largest weight. It is the embedding table of the random models. In a given model, another weight may be larger. */
function tableOf(model: LanguageModel["model"]) {
  return model.weightNames.map((name) => model.asStored(name)).reduce((a, b) => (b.elements > a.elements ? b : a));
}
