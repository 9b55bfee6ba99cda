// Conversion of whole models between safetensors folders and GGUF files.
import { basename, dirname, join, resolve } from "node:path";
import { checkPath, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFunction } from "../core/option-values.ts";
import { checkNames, type Names } from "../core/unknown-options.ts";
import { type ModelConfig, rotaryDim } from "../formats/config/config.ts";
import { modelConfigToJson } from "../formats/config/config-json.ts";
import { modelConfigToGguf } from "../formats/config/config-to-gguf.ts";
import { formatOf } from "../formats/config/families.ts";
import { generationConfigToJson } from "../formats/config/generation-config.ts";
import { ownHead } from "../formats/config/heads.ts";
import { firstPosition } from "../formats/config/positions.ts";
import { llama3Factors } from "../formats/config/rope-scaling.ts";
import { replaceModel } from "../formats/folder-files.ts";
import { folderTensors } from "../formats/folder-tensors.ts";
import { FP8_CONFIG, FP8_WEIGHTS, writeFp8 } from "../formats/fp8.ts";
import { splitGateUp } from "../formats/gate-up.ts";
import { ggufName, layoutChange } from "../formats/gguf/gguf-names.ts";
import { addDefaultPooling } from "../formats/gguf/gguf-pooling.ts";
import type { GgufValue } from "../formats/gguf/gguf-types.ts";
import { writeGguf } from "../formats/gguf/gguf-write.ts";
import { modelCardToGguf, writeModelCard } from "../formats/model-card.ts";
import { type ModelFiles, openModelFiles } from "../formats/model-files.ts";
import {
  dtypeNames,
  fileType,
  isMix,
  isQuantizedTarget,
  type QuantizedTarget,
  quantizedType,
  widerMatrices,
} from "../formats/quantization-choice.ts";
import { DEFAULT_EMBEDDING } from "../formats/sentence-transformers/embedding-schema.ts";
import { saveModelWeights } from "../formats/sentence-transformers/embedding-write.ts";
import type { TensorData, WriteOptions } from "../formats/tensor-data.ts";
import { ChunkRooms, streamTensor } from "../formats/tensor-stream.ts";
import { stageTokenizer, TOKENIZER_FILES } from "../formats/tokenizer-files.ts";
import type { StoredTensor } from "../formats/weights.ts";
import { elementCount, type FloatDType, isFloat, isNumber, type NumberDType } from "../graph/dtype.ts";
import { type Device, isQuantized, openDevice } from "../graph/index.ts";
import { exists, ioError, makeFolder, readJson } from "../io/atomic-files.ts";
import { decodeUtf8 } from "../io/json.ts";
import { readWhole } from "../io/open-file.ts";
import { realPathIfAny } from "../io/real-path.ts";
import { type StagedFiles, writeTogether } from "../io/staged-files.ts";
import { familyOf } from "../models/registry.ts";
import { tokenizerToGguf } from "../tokenizer/files/gguf-write.ts";
import { namedTemplates, readTemplates } from "../tokenizer/files/template-files.ts";
import { jsonWithEos } from "../tokenizer/pipeline/template-processor.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { needOtherPlace } from "./check-output.ts";
import { differencesInLlamaCpp } from "./differences.ts";
import { type Base, keptMatrix, keptWeights } from "./kept-matrices.ts";

/** Options of `convertModel`. */
export interface ConvertOptions extends WriteOptions {
  /** Default: gguf when the output's name ends in .gguf, else safetensors. */
  to?: "gguf" | "safetensors" | undefined;
  /**
   * Element type of the matrices, in lower or upper case. Default: each tensor keeps its type, but quantized ones
   * become f32 in safetensors. In GGUF, vectors, biases, position tables and expert routers are always f32, as
   * llama.cpp requires. Quantized types need GGUF, where the head gets a more precise type (see quantizedType). `fp8`
   * needs safetensors. It stores matrices of layers as 8-bit floats with a scale per block of 128 × 128, as in
   * DeepSeek-V3 and Qwen3-FP8. The rest becomes bf16.
   */
  dtype?: FloatDType | QuantizedTarget | "fp8" | undefined;
  /** Maximum size of a safetensors file. Default: 5 GB. */
  maxShardBytes?: number | undefined;
  /** Number of CPU threads for the conversion. Default: as for `openDevice`. */
  threads?: number | undefined;
}

/** Names of the options of `convertModel`. */
export const CONVERT_NAMES: Names<ConvertOptions> = {
  to: true,
  dtype: true,
  maxShardBytes: true,
  threads: true,
  signal: true,
  onProgress: true,
};

/** The result of `convertModel`. */
export interface ConvertResult {
  /** Number of tensors written. */
  tensors: number;
  /** Bytes of the weight files written. */
  bytes: number;
  /**
   * Notes on a GGUF file, if there are any: matrices whose type differs from the requested one, a default pooling that was added, and
   * differences between llama.cpp's results and the model's.
   */
  notes?: string[];
}

/**
 * Converts a whole model: a Hugging Face folder, a checkpoint or a GGUF file (floating or quantized) to a GGUF file or
 * a folder with safetensors. It converts tensor by tensor, so memory is bounded by the largest matrix. The tokenizer,
 * the configuration and the model card are converted too. Layouts that differ between the formats are converted as
 * well: the row order of llama's q and k, gemma's norm weights (w or 1 + w), and gpt2's transposed matrices. Converting
 * gemma's norms to GGUF and back may change their last bit.
 *
 * If the output folder contains another model, the conversion removes all files of that model, such as chat templates.
 * Other files stay.
 *
 * An output file appears complete or not at all. Errors: INVALID_ARGUMENT (also if the output is the input), NOT_FOUND,
 * IO, INVALID_FILE, UNSUPPORTED, ABORTED, and NUMERICAL if a value does not fit the type or is not finite.
 * @param base the GGUF file that the input was made from. Its quantized matrices are copied to GGUF unless they changed
 */
export async function convertModel(
  input: string,
  output: string,
  options: ConvertOptions = {},
  base?: Base,
): Promise<ConvertResult> {
  checkNames(options, CONVERT_NAMES);
  checkPath("input", input, "the path of a model");
  checkPath("output", output);
  const { onProgress, maxShardBytes } = options;
  checkFunction("onProgress", onProgress);
  if (maxShardBytes !== undefined && !(typeof maxShardBytes === "number" && maxShardBytes > 0))
    throw invalidArgument("maxShardBytes", "a number above 0", maxShardBytes);
  throwIfAborted(options.signal, "convert");
  const to = options.to ?? (output.endsWith(".gguf") ? "gguf" : "safetensors");
  if (to !== "gguf" && to !== "safetensors") throw invalidArgument("to", "gguf or safetensors", to);
  const how = { ...options, dtype: writtenType(options.dtype, to) };
  // Converting a model onto itself is refused, because a smaller type would replace the original.
  if ((await realPathIfAny(input)) === (await realPathIfAny(output)))
    throw invalidArgument("output", "a path other than the model's", output);
  const model = await openModelFiles(input);
  try {
    await needOtherPlace(model, output, to, "the model's");
    if (base) await needOtherPlace(base.files, output, to, "the base's");
    return to === "gguf" ? await toGguf(model, input, output, how, base) : await toFolder(model, input, output, how);
  } finally {
    model.close();
  }
}

/**
 * Checks the requested type and returns it in lower case, because llama.cpp's tools write types in capitals.
 * @throws HeddleError INVALID_ARGUMENT, UNSUPPORTED
 */
function writtenType(given: ConvertOptions["dtype"], to: "gguf" | "safetensors"): ConvertOptions["dtype"] {
  const dtype = typeof given === "string" ? (given.toLowerCase() as typeof given) : given;
  if (dtype === undefined || isFloat(dtype)) return dtype;
  if (isMix(dtype))
    throw new HeddleError(
      "UNSUPPORTED",
      `dtype: expected a plain type (${dtypeNames}), got ${dtype}, a mix of types of llama.cpp, which is not supported`,
    );
  if (dtype === "fp8") {
    if (to !== "safetensors") throw invalidArgument("dtype", "a type of GGUF", given);
  } else if (!isQuantizedTarget(dtype)) throw invalidArgument("dtype", dtypeNames, given);
  else if (to !== "gguf") throw invalidArgument("dtype", "f32, f16, bf16 or fp8 for safetensors", given);
  return dtype;
}

/**
 * Matches tensors of several dimensions that llama.cpp requires or keeps in f32: position and token-type tables, biases of experts, norms of
 * each head of q and k, expert routers and classification heads.
 */
const KEPT_F32 =
  /^transformer\.wpe\.weight$|\.(position|token_type)_embeddings\.weight$|\.bias$|\.[qk]_norm\.weight$|\.(mlp|block_sparse_moe)\.(gate|router(\.layer)?|shared_expert_gate)\.weight$|^classifier(\.out_proj)?\.weight$/;

interface Planned {
  huggingFace: string;
  tensor: TensorData;
}

/**
 * Returns the output's tensors under transformers' names, each with a stream of its converted bytes. The conversion runs
 * on the threads of `device`.
 */
function planTensors(
  model: ModelFiles,
  to: "gguf" | "safetensors",
  dtype: ConvertOptions["dtype"],
  device: Device,
  base?: Base,
): Planned[] {
  const rooms = new ChunkRooms();
  const { config } = model;
  const weights = to === "gguf" ? splitGateUp(model.weights, config) : model.weights;
  const kept = base && keptWeights(base);
  const { weight: head } = familyOf(config.modelType).head(config);
  const fusedExperts = formatOf(config.modelType).experts?.fused;
  const planned: Planned[] = [];
  for (const name of weights.names()) {
    // Skip the stored head of a tied model, because it repeats the embedding. transformers does not read it either.
    if (config.tieWordEmbeddings && name === ownHead(config)) continue;
    const stored = to === "gguf" ? withoutPadding(weights.tensor(name), config) : weights.tensor(name);
    if (!isNumber(stored.dtype)) {
      throw new HeddleError(
        "UNSUPPORTED",
        `tensor ${name}: expected a floating or quantized type, got ${stored.dtype}`,
      );
    }
    const staysF32 = to === "gguf" && (stored.shape.length === 1 || KEPT_F32.test(name));
    const change = weights.format === to ? ({ kind: "none" } as const) : layoutChange(name, config);
    const shape = change.kind === "transpose" ? [...stored.shape].reverse() : stored.shape;
    // Experts are not converted to fp8 if the family's folders store them in fused tensors.
    const layer = FP8_WEIGHTS.test(name) && !(fusedExperts && shape.length === 3);
    const own = kept && !staysF32 ? keptMatrix(name, shape, config, kept) : undefined;
    const from = own ? ({ stored: own, change: { kind: "none" } } as const) : { stored, change };
    const matrix = { shape, head: name === head, layer };
    const target = staysF32 ? "f32" : targetType(dtype, from.stored.dtype as NumberDType, to, matrix);
    const bytes = () =>
      streamTensor(from.stored, { device, dtype: target, change: from.change, to, finite: true, rooms });
    planned.push({ huggingFace: name, tensor: { name, dtype: target, shape, bytes } });
  }
  return planned;
}

/** Removes the padding rows at the start of a position table, because GGUF's tables begin at position 0. */
function withoutPadding(stored: StoredTensor, config: ModelConfig): StoredTensor {
  const first = firstPosition(config);
  if (first === 0 || !/\.position_embeddings\.weight$/.test(stored.name)) return stored;
  const [rows, ...inner] = stored.shape as [number, ...number[]];
  const wanted = first + config.maxPositionEmbeddings;
  if (rows !== wanted)
    throw new HeddleError("INVALID_FILE", `${stored.name}: expected ${wanted} rows by the configuration, got ${rows}`);
  const row = stored.bytes / rows;
  const columns = elementCount(inner);
  const view = { sizes: [rows - first, columns], strides: [columns, 1], start: first * columns };
  const { sources, ...plain } = stored;
  return {
    ...plain,
    shape: [rows - first, ...inner],
    offset: stored.offset + first * row,
    bytes: stored.bytes - first * row,
    // A scale of 8-bit floats covers a whole block of rows. The source therefore stays the whole table, and `view` skips its first rows.
    ...(sources && { sources: () => sources().map((source) => ({ ...source, view })) }),
  };
}

function targetType(
  wanted: ConvertOptions["dtype"],
  stored: NumberDType,
  to: "gguf" | "safetensors",
  matrix: { shape: readonly number[]; head: boolean; layer: boolean },
): NumberDType {
  if (wanted === "fp8") return matrix.layer ? "f32" : "bf16";
  if (wanted === undefined) return to === "safetensors" && !isFloat(stored) ? "f32" : stored;
  return isFloat(wanted) ? wanted : quantizedType(wanted, matrix);
}

async function toGguf(
  model: ModelFiles,
  input: string,
  output: string,
  options: ConvertOptions,
  base?: Base,
): Promise<ConvertResult> {
  const { config } = model;
  // Build the metadata first, so that its errors come before those of the tensors.
  const metadata = model.weights.gguf ? new Map(model.weights.gguf.values) : await ggufMetadata(model, input);
  const tensors = planTensors(
    model,
    "gguf",
    options.dtype,
    openDevice({ device: "cpu", threads: options.threads }),
    base,
  ).map(({ huggingFace, tensor }) => {
    const name = ggufName(huggingFace, config.modelType);
    if (name === undefined) {
      throw new HeddleError("UNSUPPORTED", `${input}: tensor ${JSON.stringify(huggingFace)} has no name in GGUF`);
    }
    return { ...tensor, name };
  });
  tensors.push(...ropeFactors(config));
  // Keep the source file's scaling factor only for linear and YaRN scaling. For other kinds, the tensors of `ropeFactors` already contain it.
  const kind = config.ropeScaling?.ropeType;
  const architecture = metadata.get("general.architecture")?.value;
  if (kind !== "linear" && kind !== "yarn")
    for (const key of ["rope.scaling.factor", "rope.scale_linear"]) metadata.delete(`${architecture}.${key}`);
  metadata.set("general.file_type", { type: "u32", value: fileType(tensors) });
  // The version of ggml's block layouts must be stored with quantized tensors.
  if (tensors.some(({ dtype }) => isQuantized(dtype))) {
    metadata.set("general.quantization_version", { type: "u32", value: 2 });
  } else metadata.delete("general.quantization_version");
  const pooled = addDefaultPooling(metadata, config);
  const bytes = await writeGguf(output, { metadata, tensors }, options);
  const notes = [
    ...widerMatrices(tensors, options.dtype),
    ...(pooled
      ? [`pooling_type: set to ${DEFAULT_EMBEDDING.pooling}, because the model does not specify a pooling`]
      : []),
    ...differencesInLlamaCpp(config),
  ];
  return { tensors: tensors.length, bytes, ...(notes.length > 0 && { notes }) };
}

/** Returns the tensors in which GGUF stores the divisors of RoPE's frequencies: one for `llama3` and `factors`, two for `longrope`. */
function ropeFactors(config: ModelConfig): TensorData[] {
  const { ropeScaling: scaling, ropeTheta } = config;
  const table = (name: string, factors: ArrayLike<number>): TensorData => ({
    name,
    dtype: "f32",
    shape: [factors.length],
    bytes: new Uint8Array(Float32Array.from(factors).buffer),
  });
  switch (scaling?.ropeType) {
    case "llama3":
      return [table("rope_freqs.weight", llama3Factors(scaling, rotaryDim(config), ropeTheta))];
    case "factors":
      return [table("rope_freqs.weight", scaling.factors)];
    case "longrope":
      return [
        table("rope_factors_long.weight", scaling.longFactor),
        table("rope_factors_short.weight", scaling.shortFactor),
      ];
    default:
      return [];
  }
}

async function ggufMetadata(model: ModelFiles, input: string): Promise<Map<string, GgufValue>> {
  const config = { ...model.config, eosTokenIds: endsOf(model) };
  const metadata = modelConfigToGguf(config);
  metadata.set("general.name", { type: "string", value: basename(resolve(input)) });
  if (model.card) for (const [key, value] of modelCardToGguf(model.card)) metadata.set(key, value);
  const folder = model.tokenizerPath;
  if (folder === undefined) {
    const { bosTokenId, eosTokenIds, padTokenId } = config;
    const ids = { bos: bosTokenId, eos: eosTokenIds[0], eot: eosTokenIds[1], eom: eosTokenIds[2], padding: padTokenId };
    metadata.set("tokenizer.ggml.model", { type: "string", value: "no_vocab" });
    for (const [name, value] of Object.entries(ids)) {
      if (typeof value === "number") metadata.set(`tokenizer.ggml.${name}_token_id`, { type: "u32", value });
    }
    return metadata;
  }
  const path = join(folder, "tokenizer.json");
  const configPath = join(folder, "tokenizer_config.json");
  const tokenizerConfig = (await exists(configPath)) ? await readJson(configPath) : undefined;
  const files = {
    path,
    tokenizer: jsonWithEos(await tokenizerJson(folder, path), tokenizerConfig),
    config: tokenizerConfig,
    chatTemplates: await readTemplates(folder, async (name) => ((await exists(name)) ? readText(name) : undefined)),
  };
  for (const [key, value] of tokenizerToGguf(files, config)) metadata.set(key, value);
  return metadata;
}

/** Reads tokenizer.json, or converts the older vocabulary files into its content. */
async function tokenizerJson(folder: string, path: string): Promise<unknown> {
  if (await exists(path)) return readJson(path, { bytes: MAX_TOKENIZER_BYTES, values: MAX_TOKENIZER_VALUES });
  return JSON.parse((await Tokenizer.load(folder)).files()["tokenizer.json"]!);
}

/**
 * Returns the end tokens that transformers uses: those of generation_config.json if it lists any, else those of
 * config.json. Tokens that both files list come first.
 */
function endsOf({ config, generation }: ModelFiles): number[] {
  const ends = generation.eosTokenIds ?? config.eosTokenIds;
  const first = config.eosTokenIds.filter((id) => ends.includes(id));
  return [...new Set([...first, ...ends])];
}

/** Limits for tokenizer.json: twice the size of the largest known file. */
const MAX_TOKENIZER_BYTES = 67_108_864;
const MAX_TOKENIZER_VALUES = 1 << 22;

async function readText(path: string): Promise<string> {
  try {
    return decodeUtf8(await readWhole(path, MAX_TOKENIZER_BYTES), path);
  } catch (error) {
    throw ioError(error, path, "read");
  }
}

async function toFolder(
  model: ModelFiles,
  input: string,
  output: string,
  options: ConvertOptions,
): Promise<ConvertResult> {
  const device = openDevice({ device: "cpu", threads: options.threads });
  const planned = planTensors(model, "safetensors", options.dtype, device).map(({ tensor }) => tensor);
  const fp8 = options.dtype === "fp8";
  const unstacked = folderTensors(planned, model.config, device);
  if (fp8 && !unstacked.some(({ name, shape }) => FP8_WEIGHTS.test(name) && shape.length === 2))
    throw new HeddleError(
      "UNSUPPORTED",
      `fp8: expected a model with matrices named …_proj.weight, got a ${model.config.modelType} without any`,
    );
  const tensors = fp8 ? writeFp8(unstacked, device) : unstacked;
  const matrix = fp8 ? "bf16" : (tensors.find(({ shape }) => shape.length === 2)?.dtype as FloatDType | undefined);
  // Before writing the first byte, prepare everything whose validation may fail.
  const config = {
    ...modelConfigToJson({ ...model.config, dtype: matrix ?? model.config.dtype }),
    ...(fp8 && { quantization_config: FP8_CONFIG }),
  };
  const gguf = model.weights.gguf;
  const tokenizer =
    gguf && model.tokenizerPath !== undefined ? await Tokenizer.fromGgufAsync(gguf.record()) : undefined;
  await makeFolder(output);
  const bytes = await writeTogether(async (files) => {
    const saved = await saveModelWeights(output, tensors, model.config, options, files);
    if (tokenizer) {
      // If the GGUF file contains a tokenizer.json, write its text unchanged. Loading the tokenizer above has validated it.
      const whole = gguf?.string("tokenizer.huggingface.json");
      const texts = { ...tokenizer.files(), ...(whole !== undefined && { "tokenizer.json": whole }) };
      await stageTokenizer(files, output, texts);
    } else if (!gguf) {
      const from = model.tokenizerPath ?? input;
      const named = (await namedTemplates(from)).map(([, name]) => name);
      if (named.length > 0) await makeFolder(join(output, dirname(named[0]!)));
      for (const name of [...TOKENIZER_FILES, ...named]) await copyFile(join(from, name), join(output, name), files);
    }
    if (model.card) await writeModelCard(output, model.card, files);
    if (Object.keys(model.generation).length > 0) {
      await files.writeJson(join(output, "generation_config.json"), generationConfigToJson(model.generation));
    }
    await replaceModel(files, output);
    await files.writeJson(join(output, "config.json"), config);
    return saved.bytes;
  });
  return { tensors: tensors.length, bytes };
}

async function copyFile(from: string, to: string, files: StagedFiles): Promise<void> {
  if (!(await exists(from))) return;
  let bytes: Buffer;
  try {
    bytes = await readWhole(from, MAX_TOKENIZER_BYTES);
  } catch (error) {
    throw ioError(error, from, "read");
  }
  await files.write(to, (sink) => sink.write(bytes));
}
