// A small language that a tiny model learns in seconds, for tests of preference training and rollouts.
import { writeFile } from "node:fs/promises";
import type { ModelConfigInput } from "../../../lib/formats/config/config.ts";
import { createModel } from "../../../lib/language-model/create.ts";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { pretrain } from "../../../lib/train/stages/pretrain.ts";

const names = ["Anna", "Ben", "Clara", "Dan", "Ella", "Finn"];
const verbs = ["likes", "sees", "finds", "wants"];
/** Two kinds of things that answers may name. */
export const good = [" a red ball.", " a small boat."];
export const bad = [" the old tree.", " the green hat."];

export const prompts = names.flatMap((name) => verbs.map((verb) => `${name} ${verb}`));
export const isHeldOut = (prompt: string) => prompt.startsWith("Ella") || prompt === "Ben wants";

/** Returns every pair of a good and a bad answer to the held-out prompts, or to the others. */
export function pairs(heldOut: boolean): { prompt: string; chosen: string; rejected: string }[] {
  return prompts
    .filter((prompt) => isHeldOut(prompt) === heldOut)
    .flatMap((prompt) => good.flatMap((chosen) => bad.map((rejected) => ({ prompt, chosen, rejected }))));
}

function text(count: number): string {
  let s = 1;
  const pick = (list: readonly string[]) => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return list[(s >>> 16) % list.length]!;
  };
  return Array.from({ length: count }, () => pick(prompts) + pick([...good, ...bad])).join("\n\n");
}

export const trainedTokenizer = () => Tokenizer.train([text(200)], { vocabSize: 320, bosToken: "<|endoftext|>" });

export function newModel(tokenizer: Tokenizer): LanguageModel {
  const config: ModelConfigInput = {
    modelType: "llama",
    hiddenSize: 32,
    intermediateSize: 64,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    maxPositionEmbeddings: 64,
    tieWordEmbeddings: true,
  };
  return createModel(config, { tokenizer, seed: 3 });
}

/** Trains a model that names good and bad things about equally often. @param corpus a path for its training text */
export async function speakingModel(tokenizer: Tokenizer, corpus: string, outputDir: string): Promise<LanguageModel> {
  await writeFile(corpus, text(500));
  const model = newModel(tokenizer);
  await pretrain(model, {
    data: corpus,
    outputDir,
    maxSteps: 120,
    perDeviceTrainBatchSize: 8,
    maxSeqLength: 32,
    learningRate: 5e-3,
    warmupSteps: 5,
    seed: 7,
  });
  return model;
}
