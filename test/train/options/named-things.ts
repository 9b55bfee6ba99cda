// A small classification task: texts that name an animal, a plant or a tool.
import { createModel } from "../../../lib/language-model/create.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import type { TrainClassifierOptions } from "../../../lib/train/stages/classify.ts";

/** Words by kind. */
export const kinds = {
  animal: ["cat", "dog", "bird", "horse"],
  plant: ["oak", "rose", "fern", "tulip"],
  tool: ["hammer", "saw", "drill", "knife"],
};
type Kind = keyof typeof kinds;
const frames = ["Yesterday I saw a WORD here.", "The WORD is old.", "Do you like my WORD?", "Nobody wants the WORD."];

/** Texts that name a thing, labeled by its kind. Only the word decides, not the sentence around it. */
export function rows(count: number, offset = 0): { text: string; label: Kind }[] {
  const names = Object.keys(kinds) as Kind[];
  return Array.from({ length: count }, (_, i) => {
    const n = i + offset;
    const label = names[n % 3]!;
    const word = kinds[label][Math.floor(n / 3) % 4]!;
    return { text: frames[Math.floor(n / 12) % 4]!.replace("WORD", word), label };
  });
}

export const tokenizer = await Tokenizer.train(
  rows(48).map((r) => r.text),
  { vocabSize: 320 },
);

export const newModel = (config: object = {}) =>
  createModel(
    {
      modelType: "llama",
      hiddenSize: 32,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 64,
      ...config,
    },
    { tokenizer, seed: 3 },
  );

export const options = (more: Partial<TrainClassifierOptions> = {}): TrainClassifierOptions => ({
  data: rows(48),
  maxSteps: 60,
  perDeviceTrainBatchSize: 12,
  learningRate: 1e-2,
  warmupSteps: 5,
  seed: 7,
  ...more,
});
