// Pre-training that ends with the weights of its best evaluation. best.test.ts also runs this file as a program, and kills it. The
// arguments are the paths of the corpus and of outputDir.
import { writeSync } from "node:fs";
import type { LanguageModel } from "../../../lib/language-model/index.ts";
import { adapterTensors } from "../../../lib/models/adapters/adapters.ts";
import { type PretrainOptions, pretrain } from "../../../lib/train/stages/pretrain.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

/** Scores by step. The best is neither first nor last, and an equal later score does not replace it. */
export const scores: Readonly<Record<number, number>> = { 2: 1, 4: 3, 6: 5, 8: 2, 10: 5, 12: 4 };

export const newModel = async () => tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1 });

/** Returns the weights and the adapters' tensors by name. */
export async function weightsOf({ model }: LanguageModel) {
  const names = [...model.weightNames, ...[...model.adapters.values()].flatMap(adapterTensors)];
  return new Map(await Promise.all(names.map(async (n) => [n, await model.weight(n).toFloat32()] as const)));
}

export function bestRun(base: LanguageModel, corpus: string, more: Partial<PretrainOptions> = {}) {
  return pretrain(base, {
    data: corpus,
    maxSteps: 12,
    perDeviceTrainBatchSize: 2,
    maxSeqLength: 32,
    learningRate: 5e-3,
    seed: 7,
    evalSteps: 2,
    evaluate: ({ step }) => ({ score: scores[step]! }),
    loadBestModelAtEnd: true,
    metricForBestModel: "score",
    ...more,
  });
}

const [, script, corpus, outputDir] = process.argv;
if (script?.endsWith("best-run.ts")) {
  const run = bestRun(await newModel(), corpus!, {
    outputDir: outputDir!,
    saveSteps: 5,
    saveTotalLimit: 1,
    resume: "auto",
    async evaluate({ step }) {
      writeSync(1, `evaluate ${step}\n`);
      await new Promise((resolve) => setTimeout(resolve, 100)); // leaves time to be killed
      return { score: scores[step]! };
    },
  });
  for await (const event of run) writeSync(1, `${"loss" in event ? "step" : "evaluated"} ${event.step}\n`);
  writeSync(1, "end\n");
}
