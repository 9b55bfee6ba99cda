// Conversions that need a loaded model: an adapter merged into its base. lib/convert has all others.
import { rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  CONVERT_NAMES,
  type ConvertResult,
  convertModel as convertWhole,
  type ConvertOptions as WholeOptions,
} from "../convert/convert.ts";
import { checkPath, invalidArgument } from "../core/errors.ts";
import { removeLeft, temporaryName } from "../core/temp-files.ts";
import { rejectUnknownNames } from "../core/unknown-options.ts";
import { openModelFiles } from "../formats/model-files.ts";
import type { Device } from "../graph/index.ts";
import { makeFolder } from "../io/atomic-files.ts";
import { isAdapterFolder } from "./adapters.ts";
import { LanguageModel } from "./language-model.ts";
import { loadLanguageModel, modelPath } from "./load.ts";

/** Options of `convertModel`. */
export interface ConvertOptions extends WholeOptions {
  /**
   * The base of an adapter's folder: a folder, a .gguf file or `default`. Needed if adapter_config.json does not name
   * an existing base.
   */
  base?: string | undefined;
  /** Device on which an adapter is merged. Default: as for `LanguageModel.load`. */
  device?: string | Device | undefined;
}

/** Prefix of the temporary folder with the base and its adapter merged. */
const MERGED = ".heddle-merged";

/**
 * Converts a model: a Hugging Face folder, a checkpoint, a GGUF file (floating or quantized) or `default`, to a GGUF file or a folder with
 * safetensors. It converts tensor by tensor, so memory is bounded by the largest matrix. The tokenizer, the configuration and the model
 * card are converted too. The layout of weights is adapted: the RoPE order of llama's q and k, gemma's 1 + w norms, gpt2's transposed
 * matrices. Converting gemma's norms there and back may change their last bit.
 *
 * For a LoRA adapter's folder (adapter_config.json and adapter_model.safetensors) it writes the base with the adapter merged. The
 * conversion loads the base, and uses a temporary folder next to the output. If the process is killed, the next conversion removes that
 * folder. From a quantized GGUF file to GGUF, only matrices that the adapter changes become f32. The others keep their blocks, unless
 * `dtype` is another type. A folder has no quantized types, so all become f32.
 *
 * @throws HeddleError INVALID_ARGUMENT, NOT_FOUND, IO, INVALID_FILE, UNSUPPORTED, NUMERICAL (a value does not fit the type, or is NaN or
 * infinite), ABORTED. An output file appears complete or not at all.
 */
export async function convertModel(
  input: string,
  output: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  rejectUnknownNames(options, [...Object.keys(CONVERT_NAMES), "base", "device"]);
  checkPath("input", input, "the path of a model");
  checkPath("output", output);
  const { base, device, ...how } = options;
  if (base !== undefined) checkPath("base", base, "the path of a model");
  const path = await modelPath(input);
  if (await isAdapterFolder(path)) return convertMerged(path, output, { base, device }, how);
  if (base !== undefined) throw invalidArgument("base", "no value unless the input is an adapter folder", base);
  return convertWhole(path, output, how);
}

async function convertMerged(
  adapter: string,
  output: string,
  { base, device }: Pick<ConvertOptions, "base" | "device">,
  how: WholeOptions,
): Promise<ConvertResult> {
  const { signal, threads } = how;
  // Reject the adapter's folder as the output. It would contain the adapter and the merged model, and loading it would
  // apply the adapter twice.
  if (resolve(output) === resolve(adapter))
    throw invalidArgument("output", "a folder other than the adapter's", output);
  await using model = new LanguageModel(
    await loadLanguageModel(adapter, { device, threads, ...(signal && { signal }) }, base),
  );
  const weights = () => new Map(model.model.weightNames.map((name) => [name, model.model.weight(name)]));
  const before = weights();
  // If the caller sets a type, merge in f32, so that nothing is rounded twice.
  if (how.dtype !== undefined) await model.model.absorbAdapters();
  else for (const name of model.model.adapters.keys()) await model.model.mergeAdapter(name);
  const parent = dirname(resolve(output));
  await makeFolder(parent);
  await removeLeft(parent, ({ stem }) => stem === MERGED);
  const folder = join(parent, temporaryName(MERGED));
  try {
    await model.save(folder, { ...(signal && { signal }) });
    const changed = new Set([...weights()].flatMap(([name, tensor]) => (before.get(name) === tensor ? [] : [name])));
    // `default` is a folder.
    const files = model.path === undefined || model.path === "default" ? undefined : await openModelFiles(model.path);
    try {
      return await convertWhole(folder, output, how, files && { files, changed });
    } finally {
      files?.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
