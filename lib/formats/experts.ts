// Routed experts in Hugging Face folders. Most families store separate matrices. Granite concatenates gate and up. gpt_oss interleaves gate
// and up, transposes them, and may store MXFP4. A model of heddle stores one stack per projection, as GGUF does. For example,
// `…experts.gate_proj.weight` has the dimensions (experts, outputs, inputs). Biases have the dimensions (experts, outputs).
import { HeddleError } from "../core/errors.ts";
import { type FloatDType, isFloat } from "../graph/dtype.ts";
import type { Device } from "../graph/index.ts";
import type { ModelConfig } from "./config/config.ts";
import { formatOf } from "./config/families.ts";
import type { ExpertsFormat } from "./config/family-format.ts";
import { elementsIn } from "./element-sources.ts";
import { castElements } from "./native-cast.ts";
import { type Stack, splitStack, stackOf, withStacks } from "./stacks.ts";
import { collect, type TensorData } from "./tensor-data.ts";
import { weightBytes } from "./weight-dtype.ts";
import type { StoredTensor, WeightSource } from "./weights.ts";

/** Presents a folder's experts as one stack for each projection. Tensors that are already stacked stay unchanged. */
export function stackExperts(weights: WeightSource, config: ModelConfig): WeightSource {
  const { experts } = formatOf(config.modelType);
  if (config.numExperts === undefined) return weights;
  const stacks =
    experts?.fused === "turns"
      ? gptOssStacks(weights)
      : experts?.fused === "halves"
        ? graniteStacks(weights)
        : singleStacks(weights, config.numExperts, experts);
  return withStacks(weights, stacks);
}

const SEPARATE_NAME = /^(.*\.(?:mlp|block_sparse_moe)\.experts)\.([0-9]{1,5})\.([a-z0-9_]+)\.weight$/;
const KINDS = ["gate", "up", "down"] as const;
const officialName = (experts: ExpertsFormat | undefined, kind: (typeof KINDS)[number]) =>
  experts?.names?.[kind] ?? `${kind}_proj`;

/** Stacks separate matrices, such as `experts.7.gate_proj.weight`. */
function singleStacks(weights: WeightSource, count: number, experts?: ExpertsFormat): Map<string, Stack> {
  const found = new Map<string, { kind: string; prefix: string; parts: string[] }>();
  for (const name of weights.names()) {
    const [, prefix, expert, official] = SEPARATE_NAME.exec(name) ?? [];
    const kind = KINDS.find((each) => officialName(experts, each) === official);
    if (prefix === undefined || kind === undefined || Number(expert) >= count) continue;
    const stack = `${prefix}.${kind}_proj.weight`;
    const { parts } = found.get(stack) ?? { parts: [] };
    parts[Number(expert)] = name;
    found.set(stack, { kind: official!, prefix, parts });
  }
  const stacks = new Map<string, Stack>();
  for (const [name, { kind, prefix, parts }] of found) {
    const missing = Array.from({ length: count }, (_, e) => e).find((e) => parts[e] === undefined);
    if (missing !== undefined)
      throw new HeddleError(
        "INVALID_FILE",
        `${weights.path}: expected a weight ${prefix}.${missing}.${kind}.weight, got none`,
      );
    stacks.set(name, { parts, tensor: () => stackOf(weights, name, parts, "the first expert") });
  }
  return stacks;
}

const FUSED_NAME = /^(.*\.mlp\.experts)\.(gate_up|down)_proj(_bias|_blocks)?$/;

/** Reads gpt_oss's layout: gate and up alternate along the outputs. Matrices are (experts, inputs, outputs), or MXFP4 in blocks along inputs. */
function gptOssStacks(weights: WeightSource): Map<string, Stack> {
  const stacks = new Map<string, Stack>();
  for (const name of weights.names()) {
    const [, prefix, kind, suffix] = FUSED_NAME.exec(name) ?? [];
    if (prefix === undefined) continue;
    const halves = kind === "gate_up" ? (["gate", "up"] as const) : (["down"] as const);
    for (const [part, half] of halves.entries()) {
      const made = `${prefix}.${half}_proj.${suffix === "_bias" ? "bias" : "weight"}`;
      const interleave = { step: halves.length, part };
      if (suffix === "_blocks") {
        const scales = `${prefix}.${kind}_proj_scales`;
        if (!weights.has(scales))
          throw new HeddleError("INVALID_FILE", `${weights.path}: expected ${scales}, got none`);
        const tensor = () => fromBlocks(made, weights.tensor(name), weights.tensor(scales), interleave);
        stacks.set(made, { parts: [name, scales], tensor });
      } else {
        const rank = suffix === "_bias" ? 2 : 3;
        stacks.set(made, { parts: [name], tensor: () => fromFused(made, weights.tensor(name), rank, interleave) });
      }
    }
  }
  return stacks;
}

const HALVES_NAME = /^(.*\.block_sparse_moe)\.(input|output)_linear\.weight$/;

/** Reads Granite's layout: `input_linear` has each expert's gate matrix followed by its up matrix. `output_linear` has the down matrices. */
function graniteStacks(weights: WeightSource): Map<string, Stack> {
  const stacks = new Map<string, Stack>();
  for (const name of weights.names()) {
    const [, prefix, side] = HALVES_NAME.exec(name) ?? [];
    if (prefix === undefined) continue;
    const kinds = side === "input" ? (["gate", "up"] as const) : (["down"] as const);
    for (const [part, kind] of kinds.entries()) {
      const made = `${prefix}.experts.${kind}_proj.weight`;
      const tensor = () =>
        kind === "down" ? { ...weights.tensor(name), name: made } : halfOf(made, weights.tensor(name), part);
      stacks.set(made, { parts: [name], tensor });
    }
  }
  return stacks;
}

/** Returns the first (`part` 0) or second half of the outputs of a tensor (experts, 2 · width, inputs). */
function halfOf(name: string, both: StoredTensor, part: number): StoredTensor {
  const [experts, outputs, inputs] = both.shape as [number, number, number];
  if (both.sources || both.shape.length !== 3 || !isFloat(both.dtype) || outputs % 2 !== 0)
    throw wrongShape(both, "floats (experts, 2 · width, hidden_size)");
  const rows = outputs / 2;
  return {
    ...both,
    name,
    shape: [experts, rows, inputs],
    bytes: both.bytes / 2,
    sources: () => {
      const view = {
        sizes: [experts, rows, inputs],
        strides: [outputs * inputs, inputs, 1],
        start: part * rows * inputs,
      };
      return [{ data: both.file, offset: both.offset, bytes: both.bytes, view }];
    },
  };
}

/** Selects every `step`-th output, starting at `part`. */
interface Interleave {
  step: number;
  part: number;
}

function wrongShape({ name, dtype, storedDtype, shape, fp8 }: StoredTensor, expected: string): HeddleError {
  const got = fp8 ? storedDtype : dtype;
  return new HeddleError("INVALID_FILE", `${name}: expected ${expected}, got ${got} [${shape.join(", ")}]`);
}

/**
 * Extracts one projection of a fused tensor: (experts, inputs, outputs) → (experts, outputs / step, inputs), or for
 * biases (experts, outputs) → (experts, outputs / step).
 */
function fromFused(name: string, fused: StoredTensor, rank: number, { step, part }: Interleave): StoredTensor {
  const [experts, ...rest] = fused.shape;
  const [inputs, outputs] = rank === 3 ? (rest as [number, number]) : [1, rest[0]!];
  // Tensors with several sources (8-bit floats) cannot be deinterleaved by a view.
  if (fused.sources || fused.shape.length !== rank || !isFloat(fused.dtype) || outputs % step !== 0)
    throw wrongShape(fused, `floats of ${rank} dimensions`);
  const rows = outputs / step;
  return {
    ...fused,
    name,
    shape: rank === 3 ? [experts!, rows, inputs] : [experts!, rows],
    bytes: fused.bytes / step,
    sources: () => {
      const view = { sizes: [experts!, rows, inputs], strides: [inputs * outputs, step, outputs], start: part };
      return [{ data: fused.file, offset: fused.offset, bytes: fused.bytes, view }];
    },
  };
}

/**
 * Converts MXFP4 from transformers' layout to ggml's. transformers has blocks (experts, outputs, groups, 16) and
 * separate scales. A byte holds elements 2j and 2j + 1. ggml has 17 bytes per group of 32 elements: the scale, then
 * bytes that each hold elements j and j + 16.
 */
function fromBlocks(
  name: string,
  blocks: StoredTensor,
  scales: StoredTensor,
  { step, part }: Interleave,
): StoredTensor {
  const [experts, outputs, groups, half] = blocks.shape as [number, number, number, number];
  if (blocks.dtype !== "u8" || blocks.shape.length !== 4 || half !== 16 || outputs % step !== 0)
    throw wrongShape(blocks, "u8 [experts, outputs, groups, 16]");
  if (scales.dtype !== "u8" || String(scales.shape) !== String([experts, outputs, groups]))
    throw wrongShape(scales, `u8 [${experts}, ${outputs}, ${groups}]`);
  const rows = outputs / step;
  const shape = [experts, rows, groups * 32];
  return {
    ...blocks,
    name,
    dtype: "mxfp4",
    storedDtype: "MXFP4",
    shape,
    bytes: weightBytes("mxfp4", shape),
    sources: () => {
      const inputs = groups * 32;
      const view = {
        sizes: [experts, rows, inputs],
        strides: [outputs * inputs, step * inputs, 1],
        start: part * inputs,
      };
      const mxfp4 = { data: scales.file, offset: scales.offset };
      return [{ data: blocks.file, offset: blocks.offset, bytes: blocks.bytes, mxfp4, view }];
    },
  };
}

const SHARED_GATE = /\.mlp\.shared_expert_gate\.weight$/;

/**
 * Presents a GGUF file's experts as stacks, because early files have separate matrices. The shared expert's gate, a vector in GGUF, becomes
 * a matrix.
 */
export function stackGgufExperts(weights: WeightSource, config: ModelConfig): WeightSource {
  const stacked = stackExperts(weights, config);
  if (!formatOf(config.modelType).experts?.shared) return stacked;
  const asMatrix = <T extends { shape: readonly number[] }>(name: string, stored: T): T =>
    SHARED_GATE.test(name) && stored.shape.length === 1 ? { ...stored, shape: [1, ...stored.shape] } : stored;
  return {
    ...stacked,
    info: (name) => asMatrix(name, stacked.info(name)),
    tensor: (name) => asMatrix(name, stacked.tensor(name)),
  };
}

/**
 * Converts stacks of floats to the family's layout in folders.
 * @param device the device whose threads reorder the elements
 */
export function unstackExperts(tensors: readonly TensorData[], config: ModelConfig, device: Device): TensorData[] {
  const { experts } = formatOf(config.modelType);
  if (config.numExperts === undefined) return [...tensors];
  if (experts?.fused) return fuseStacks(tensors, device, experts.fused);
  return tensors.flatMap((tensor) => {
    const [, prefix, kind] = STACK_NAME.exec(tensor.name) ?? [];
    if (prefix === undefined) return [tensor];
    const official = officialName(experts, kind as (typeof KINDS)[number]);
    return splitStack(tensor, (expert) => `${prefix}.${expert}.${official}.weight`);
  });
}

const STACK_NAME = /^(.*\.(?:mlp|block_sparse_moe)\.experts)\.(gate|up|down)_proj\.(weight|bias)$/;

/**
 * Fuses gate and up. "turns" is gpt_oss's layout: gate and up alternate, in matrices (experts, inputs, outputs). "halves" is Granite's:
 * gate is followed by up, in matrices (experts, outputs, inputs).
 */
function fuseStacks(tensors: readonly TensorData[], device: Device, how: "turns" | "halves"): TensorData[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return tensors.flatMap((tensor): TensorData[] => {
    const [, prefix, kind, what] = STACK_NAME.exec(tensor.name) ?? [];
    if (prefix === undefined) return [tensor];
    if (kind === "up") return [];
    const parts = kind === "gate" ? [tensor, byName.get(`${prefix}.up_proj.${what}`)!] : [tensor];
    const [experts, rows, inputs = 1] = tensor.shape as [number, number, number?];
    const outputs = rows * parts.length;
    const isInterleaved = how === "turns";
    const name = isInterleaved
      ? `${prefix}.${kind === "gate" ? "gate_up" : "down"}_proj${what === "bias" ? "_bias" : ""}`
      : `${prefix.replace(/\.experts$/, "")}.${kind === "gate" ? "input" : "output"}_linear.weight`;
    // The parts are consecutive, each (experts, rows, inputs).
    const view = isInterleaved
      ? { sizes: [experts, inputs, rows, parts.length], strides: [rows * inputs, 1, inputs, experts * rows * inputs] }
      : { sizes: [experts, parts.length, rows, inputs], strides: [rows * inputs, experts * rows * inputs, inputs, 1] };
    const bytes = async () => {
      const type = tensor.dtype as FloatDType;
      return castElements(device, elementsIn(await collect(...parts), view), { name, from: type, to: type });
    };
    return [
      {
        name,
        dtype: tensor.dtype,
        shape:
          what === "bias"
            ? [experts, outputs]
            : isInterleaved
              ? [experts, inputs, outputs]
              : [experts, outputs, inputs],
        bytes,
      },
    ];
  });
}
