// Model configuration ↔ GGUF metadata (keys as llama.cpp reads and writes them).
import { describe, HeddleError } from "../errors.ts";
import { MODEL_TYPES, type ModelConfig, type ModelType, parseModelConfig } from "./config.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import { GGUF_ARCHITECTURES } from "./gguf-names.ts";
import type { GgufValue } from "./gguf-types.ts";
import { parseJson } from "./io.ts";
import { ropeScalingFromFactors } from "./rope-scaling.ts";
import type { WeightSource } from "./weights.ts";

/** The configuration of an open GGUF file. Errors: INVALID_FILE, UNSUPPORTED (architecture, feature). */
export function modelConfigFromGguf(source: WeightSource): ModelConfig {
  const meta = source.gguf;
  if (!meta) throw new HeddleError("INTERNAL", `${source.path}: expected a GGUF file`);
  const unsupported = (message: string) => new HeddleError("UNSUPPORTED", `${source.path}: ${message}`);
  const arch = meta.requireString("general.architecture");
  const known = [...new Set(Object.values(GGUF_ARCHITECTURES))];
  if (!known.includes(arch)) {
    throw unsupported(`general.architecture ${describe(arch)} is not known (known: ${known.join(", ")})`);
  }
  if ((meta.number(`${arch}.expert_count`) ?? 0) > 0) throw unsupported("mixture of experts is not provided");

  const window = meta.number(`${arch}.attention.sliding_window`) || null;
  const modelType: ModelType = arch === "llama" ? llamaOrMistral(meta, window) : (arch as ModelType);
  const hidden = meta.requireNumber(`${arch}.embedding_length`);
  const heads = meta.requireNumber(`${arch}.attention.head_count`);
  const headDim = meta.number(`${arch}.attention.key_length`) ?? hidden / heads;
  const valueDim = meta.number(`${arch}.attention.value_length`) ?? headDim;
  if (valueDim !== headDim) throw unsupported(`value heads of ${valueDim} beside keys of ${headDim} are not provided`);
  const rotary = meta.number(`${arch}.rope.dimension_count`) ?? headDim;
  if (rotary !== headDim) throw unsupported(`rotation of ${rotary} of ${headDim} dimensions is not provided`);
  const theta = tidy(meta.number(`${arch}.rope.freq_base`) ?? 10000);

  const tokens = meta.strings("tokenizer.ggml.tokens");
  const eos = ["eos_token_id", "eot_token_id", "eom_token_id"].map((key) => meta.number(`tokenizer.ggml.${key}`));
  return parseModelConfig(
    {
      modelType,
      vocabSize: vocabSize(source) ?? meta.number(`${arch}.vocab_size`) ?? tokens?.length,
      hiddenSize: hidden,
      intermediateSize: meta.requireNumber(`${arch}.feed_forward_length`),
      numHiddenLayers: meta.requireNumber(`${arch}.block_count`),
      numAttentionHeads: heads,
      numKeyValueHeads: meta.number(`${arch}.attention.head_count_kv`) ?? heads,
      headDim,
      maxPositionEmbeddings: meta.requireNumber(`${arch}.context_length`),
      ...(modelType === "gpt2"
        ? { layerNormEpsilon: tidy(meta.requireNumber(`${arch}.attention.layer_norm_epsilon`)) }
        : { rmsNormEps: tidy(meta.requireNumber(`${arch}.attention.layer_norm_rms_epsilon`)) }),
      ropeTheta: theta,
      ropeScaling: modelType === "gpt2" ? null : readScaling(source, meta, arch, headDim, theta, unsupported),
      slidingWindow: window,
      tieWordEmbeddings: !source.has("output.weight"),
      attentionBias: arch === "llama" && source.has("blk.0.attn_q.bias"),
      mlpBias: arch === "llama" && source.has("blk.0.ffn_up.bias"),
      hiddenAct: modelType === "gemma" || modelType === "gpt2" ? "gelu_pytorch_tanh" : "silu",
      bosTokenId: meta.number("tokenizer.ggml.bos_token_id") ?? null,
      eosTokenIds: [...new Set(eos.filter((id) => id !== undefined))],
      padTokenId: meta.number("tokenizer.ggml.padding_token_id") ?? null,
      dtype: matrixDtype(source),
    },
    source.path,
  );
}

function llamaOrMistral(meta: GgufMetadata, window: number | null): ModelType {
  const said = meta.string("heddle.model_type");
  if (
    said !== undefined &&
    MODEL_TYPES.includes(said as ModelType) &&
    GGUF_ARCHITECTURES[said as ModelType] === "llama"
  ) {
    return said as ModelType;
  }
  return window === null ? "llama" : "mistral";
}

function vocabSize(source: WeightSource): number | undefined {
  return source.has("token_embd.weight") ? source.info("token_embd.weight").shape[0] : undefined;
}

/** The type of the first layer's q matrix speaks for all matrices; norms are F32 in any file. */
function matrixDtype(source: WeightSource): ModelConfig["dtype"] {
  for (const name of ["blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "token_embd.weight"]) {
    const dtype = source.has(name) ? source.info(name).dtype : undefined;
    if (dtype === "f32" || dtype === "f16" || dtype === "bf16") return dtype;
  }
  return null;
}

function readScaling(
  source: WeightSource,
  meta: GgufMetadata,
  arch: string,
  headDim: number,
  theta: number,
  unsupported: (message: string) => HeddleError,
): unknown {
  const own = meta.string("heddle.rope_scaling");
  if (own !== undefined) return parseJson(Buffer.from(own), `${source.path}: heddle.rope_scaling`);
  if (source.has("rope_freqs.weight")) {
    const { dtype, file, offset, bytes, shape } = source.tensor("rope_freqs.weight");
    if (dtype !== "f32" || shape.length !== 1 || shape[0] !== headDim / 2) {
      throw new HeddleError(
        "INVALID_FILE",
        `${source.path}: rope_freqs.weight: expected f32 [${headDim / 2}], got ${dtype} [${shape.join(", ")}]`,
      );
    }
    return ropeScalingFromFactors(new Float32Array(file.bytes(offset, bytes)), headDim, theta);
  }
  const type = meta.string(`${arch}.rope.scaling.type`) ?? (meta.has(`${arch}.rope.scale_linear`) ? "linear" : "none");
  const factor = meta.number(`${arch}.rope.scaling.factor`) ?? meta.number(`${arch}.rope.scale_linear`) ?? 1;
  const original = meta.number(`${arch}.rope.scaling.original_context_length`);
  switch (type) {
    case "none":
      return null;
    case "linear":
      return factor === 1 ? null : { ropeType: "linear", factor: tidy(factor) };
    case "yarn":
      return {
        ropeType: "yarn",
        factor: tidy(factor),
        ...(original !== undefined && { originalMaxPositionEmbeddings: original }),
      };
    default:
      throw unsupported(`${arch}.rope.scaling.type ${describe(type)} is not provided`);
  }
}

/** The shortest decimal that is the same float32: 9.999999747378752e-06 → 1e-5. */
function tidy(value: number): number {
  const exact = Math.fround(value);
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(exact.toPrecision(digits));
    if (Math.fround(short) === exact) return short;
  }
  return value;
}

/** Metadata for a GGUF file of this model: `general.architecture` and the `<arch>.*` keys. */
export function modelConfigToGguf(config: ModelConfig): Map<string, GgufValue> {
  const { modelType, ropeScaling } = config;
  const arch = GGUF_ARCHITECTURES[modelType];
  const meta = new Map<string, GgufValue>();
  const u32 = (key: string, value: number) => meta.set(`${arch}.${key}`, { type: "u32", value });
  const f32 = (key: string, value: number) => meta.set(`${arch}.${key}`, { type: "f32", value });
  const text = (key: string, value: string) => meta.set(key, { type: "string", value });

  text("general.architecture", arch);
  u32("context_length", config.maxPositionEmbeddings);
  u32("embedding_length", config.hiddenSize);
  u32("block_count", config.numHiddenLayers);
  u32("feed_forward_length", config.intermediateSize);
  u32("attention.head_count", config.numAttentionHeads);
  u32("vocab_size", config.vocabSize);
  if (modelType === "gpt2") {
    f32("attention.layer_norm_epsilon", config.layerNormEpsilon);
    return meta;
  }
  u32("attention.head_count_kv", config.numKeyValueHeads);
  f32("attention.layer_norm_rms_epsilon", config.rmsNormEps);
  u32("attention.key_length", config.headDim);
  u32("attention.value_length", config.headDim);
  u32("rope.dimension_count", config.headDim);
  f32("rope.freq_base", config.ropeTheta);
  if (config.slidingWindow !== null) u32("attention.sliding_window", config.slidingWindow);
  if (arch === "llama" && modelType !== "llama") text("heddle.model_type", modelType);
  if (ropeScaling === null) return meta;

  // llama3 scaling travels as the tensor rope_freqs.weight; these are the kinds that GGUF names.
  if (ropeScaling.ropeType === "linear" || ropeScaling.ropeType === "yarn") {
    text(`${arch}.rope.scaling.type`, ropeScaling.ropeType);
    f32("rope.scaling.factor", ropeScaling.factor);
  }
  if (ropeScaling.ropeType === "yarn" && ropeScaling.originalMaxPositionEmbeddings !== undefined) {
    u32("rope.scaling.original_context_length", ropeScaling.originalMaxPositionEmbeddings);
  }
  if (ropeScaling.ropeType === "dynamic" || ropeScaling.ropeType === "longrope") {
    throw new HeddleError("UNSUPPORTED", `rope_scaling: ${ropeScaling.ropeType} cannot be written to GGUF`);
  }
  text("heddle.rope_scaling", JSON.stringify(ropeScaling));
  return meta;
}
