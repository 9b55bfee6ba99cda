// Describes a model for Ollama's API: from the loaded model, or from the headers of its files.
import { openModelFiles } from "../../formats/model-files.ts";
import { elementCount } from "../../graph/dtype.ts";
import { isAdapterFolder } from "../../language-model/adapters.ts";
import type { LanguageModel, LoadOptions } from "../../language-model/index.ts";
import { loadTokenizer } from "../../language-model/load.ts";
import { isEncoder } from "../../models/family.ts";
import { modelWeights } from "../../models/heads.ts";
import { familyOf } from "../../models/registry.ts";
import { contextLimit } from "../../models/rope-frequencies.ts";

/** The facts of a model. */
export interface Description
  extends Pick<LanguageModel, "config" | "generation" | "tokenizer" | "contextLength" | "path"> {
  parameterCount: number;
  /** The type that most parameters have. */
  dtype: string;
  generates: boolean;
}

/** Describes a loaded model. */
export function describeLoaded(model: LanguageModel): Description {
  const { config, generation, tokenizer, contextLength, path } = model;
  const weights = model.model;
  return {
    ...{ config, generation, tokenizer, contextLength, path, parameterCount: weights.parameterCount },
    dtype: mostOf(weights.weightNames.map((name) => weights.asStored(name))),
    generates: !isEncoder(weights),
  };
}

/**
 * Describes a model by the headers of its files and its tokenizer, without loading weights. Undefined for the folder of
 * an adapter, because its base would have to be found. @throws HeddleError as `LanguageModel.load`
 */
export async function describeFiles(
  path: string,
  { contextLength, signal }: Pick<LoadOptions, "contextLength" | "signal">,
): Promise<Description | undefined> {
  if (await isAdapterFolder(path)) return undefined;
  const files = await openModelFiles(path);
  try {
    const { config, generation, weights } = files;
    const expected = modelWeights(config);
    // Leave out a stored copy of a tied head.
    const infos = weights.names().flatMap((one) => (expected.has(one) ? [weights.info(one)] : []));
    const counts = infos.map(({ shape, storedDtype }) => ({ dtype: storedDtype, elements: elementCount(shape) }));
    return {
      ...{ config, generation, path, contextLength: contextLength ?? contextLimit(config) },
      tokenizer: await loadTokenizer(files, signal),
      parameterCount: counts.reduce((sum, { elements }) => sum + elements, 0),
      dtype: mostOf(counts),
      generates: !isEncoder({ family: familyOf(config.modelType), config }),
    };
  } finally {
    files.close();
  }
}

function mostOf(weights: readonly { dtype: string; elements: number }[]): string {
  const counts = new Map<string, number>();
  for (const { dtype, elements } of weights) counts.set(dtype, (counts.get(dtype) ?? 0) + elements);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most?.[0].toUpperCase() ?? "";
}
