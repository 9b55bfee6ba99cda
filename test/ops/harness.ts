// Runs one op natively with the options of RunOptions, such as its reference, shared memory, symbolic sizes and checks.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  NativeExecutableHandle,
  NativeLaneHandle,
  NativeTensorHandle,
  ProgramDescription,
} from "../../lib/binding/graph.ts";
import { binding } from "../../lib/binding/index.ts";
import { BLOCK_TYPES, bytesOf, DTYPES, type DType, isQuantized, type QuantizedDType } from "../../lib/graph/dtype.ts";
import { arrayOf, type TensorData, toBf16, toFloat32 } from "../../lib/graph/tensor.ts";
import type { Value } from "../../lib/graph/value.ts";

export type FloatType = "f32" | "bf16" | "f16";

/** An operand: its type, and its values or the interval to draw them from ([low, high), integers for i32). */
export interface Operand {
  dtype: DType;
  shape: readonly number[];
  values?: readonly number[];
  range?: readonly [number, number];
}

export interface OpCase {
  op: string;
  label: string;
  inputs: readonly (Operand | undefined)[];
  attributes?: Readonly<Record<string, number>>;
  /** Attributes of an alternative that kernels may compute instead. A kernel may match either. */
  alternative?: Readonly<Record<string, number>>;
  outputs: readonly { dtype: DType; shape: readonly number[] }[];
  /** Operands that the op writes, which are compared like outputs. */
  mutates?: readonly number[];
  /** For copies and selections: results must be exact. */
  exact?: boolean;
  /** Absolute tolerance of float outputs for ops whose selection jittered operands (errors.ts) would change. Integers must be exact. */
  within?: number;
  /**
   * Operands that another op computes, with the attributes of this case. Its inputs are the operands `from`. Its output i becomes operand
   * `to[i]` (−1: dropped).
   */
  derive?: { op: string; from: readonly number[]; outputs: OpCase["outputs"]; to: readonly number[] };
  /**
   * A further low-precision reference (see suite.ts): outputs computed with the op's internal roundings to a narrower type. Undefined for
   * outputs without such roundings.
   */
  rounded?: (operands: readonly ArrayLike<number>[]) => readonly (ArrayLike<number> | undefined)[];
  /** Output elements that the op leaves unspecified. */
  unspecified?: (output: number, element: number) => boolean;
  /**
   * Index of the operand that is mapped from a file, like a model's weights. Kernels pack such operands in the second run, which is the
   * one compared.
   */
  mapped?: number;
  /** Every leading dimension of this size is also tested as symbolic with a larger bound. */
  symbolic?: number;
}

/** A case that must fail with this code and message, at compile time or at run time. */
export interface FailureCase extends OpCase {
  code: string;
  message: RegExp;
}

/** A differentiable composition whose gradient must match finite differences. All `operands` are f32. */
export interface GradientCase {
  label: string;
  operands: Readonly<Record<string, readonly number[]>>;
  constants?: Readonly<Record<string, Operand>>;
  build: (values: Readonly<Record<string, Value>>) => Value | readonly Value[];
}

export interface OpFile {
  cases: readonly OpCase[];
  failures?: readonly FailureCase[];
  gradients?: readonly GradientCase[];
}

const floats =
  (dtype: FloatType) =>
  (shape: readonly number[], low = -1, high = 1): Operand => ({
    dtype,
    shape,
    range: [low, high],
  });
export const f32 = floats("f32");
export const bf16 = floats("bf16");
export const f16 = floats("f16");
export const float = (dtype: FloatType, shape: readonly number[], low?: number, high?: number) =>
  floats(dtype)(shape, low, high);
/** Random integers in [low, high). */
export const i32 = (shape: readonly number[], low: number, high: number): Operand => ({
  dtype: "i32",
  shape,
  range: [low, high],
});
export const given = (dtype: DType, shape: readonly number[], values: readonly number[]): Operand => ({
  dtype,
  shape,
  values,
});
export const out = (dtype: DType, ...shape: number[]) => ({ dtype, shape });
/** The types of activations and of weights for which most ops have a case. */
export const activationTypes = ["f32", "bf16"] as const;
export const weightTypes = ["f32", "bf16", "f16"] as const;

/** mulberry32: a small seeded generator for test data; [0, 1). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const count = (shape: readonly number[]) => shape.reduce((n, d) => n * d, 1);

/** f16 bits of values that are 0 or normal; others become 0. */
function toF16(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  for (const [i, v] of values.entries()) {
    const sign = v < 0 ? 0x8000 : 0;
    let exponent = Math.floor(Math.log2(Math.abs(v)));
    if (exponent >= -14) {
      let mantissa = Math.round((Math.abs(v) / 2 ** exponent) * 1024);
      if (mantissa === 2048) [mantissa, exponent] = [1024, exponent + 1];
      halves[i] = sign | ((exponent + 15) << 10) | (mantissa - 1024);
    } else halves[i] = sign;
  }
  return halves;
}

/** Offsets of the f16 values in a block. */
const HALVES: Record<QuantizedDType, readonly number[]> = {
  q8_0: [0],
  q4_0: [0],
  q4_1: [0, 2],
  q5_0: [0],
  q5_1: [0, 2],
  q2_k: [80, 82],
  q3_k: [108],
  q4_k: [0, 2],
  q5_k: [0, 2],
  q6_k: [208],
  iq4_nl: [0],
  iq4_xs: [0],
  mxfp4: [],
};

export const quantizedTypes = Object.keys(BLOCK_TYPES) as QuantizedDType[];

/** Blocks of random bytes, scaled to values of order 1. */
function randomBlocks(dtype: QuantizedDType, shape: readonly number[], random: () => number): Uint8Array {
  const { elements, bytes } = BLOCK_TYPES[dtype];
  const blocks = count(shape) / elements;
  const out = new Uint8Array(blocks * bytes);
  for (let i = 0; i < out.length; i++) out[i] = random() * 256;
  // The largest integer times the largest group scale, which is 1 for types without group scales.
  const reach = {
    q8_0: 128,
    q4_0: 8,
    q4_1: 15,
    q5_0: 16,
    q5_1: 31,
    q2_k: 45,
    q3_k: 128,
    q4_k: 945,
    q5_k: 1953,
    q6_k: 4096,
  };
  const most = { ...reach, iq4_nl: 127, iq4_xs: 127 * 32, mxfp4: 1 }[dtype];
  for (let b = 0; b < blocks; b++) {
    for (const at of HALVES[dtype]) {
      const size = (0.25 + 0.75 * random()) / (at === HALVES[dtype][0] ? most : dtype.endsWith("_k") ? 63 : 1);
      const half = toF16(Float32Array.of(random() < 0.5 ? size : -size))[0]!;
      out[b * bytes + at] = half & 255;
      out[b * bytes + at + 1] = half >> 8;
    }
    // The first byte of a block is its exponent, with a bias of 127.
    if (dtype === "mxfp4") out[b * bytes] = 121 + Math.floor(random() * 4);
  }
  return out;
}

function encode(dtype: DType, values: ArrayLike<number>): TensorData {
  if (dtype === "i32") return new Int32Array(values);
  if (dtype === "u8") return new Uint8Array(values);
  const exact = new Float32Array(values);
  return dtype === "bf16" ? toBf16(exact) : dtype === "f16" ? toF16(exact) : exact;
}

export function decode(dtype: DType, data: TensorData): ArrayLike<number> {
  if (isQuantized(dtype))
    return new Float32Array(binding.castElements(data as Uint8Array, DTYPES[dtype], DTYPES.f32, 0).bytes);
  return dtype === "bf16" || dtype === "f16" ? toFloat32(dtype, data) : data;
}

/** The data of every operand in its element type. */
export function materialize(inputs: readonly (Operand | undefined)[], seed: number): (TensorData | undefined)[] {
  const random = generator(seed);
  return inputs.map((operand) => {
    if (!operand) return undefined;
    if (operand.values) return encode(operand.dtype, operand.values);
    if (isQuantized(operand.dtype)) return randomBlocks(operand.dtype, operand.shape, random);
    const [low, high] = operand.range ?? [-1, 1];
    const whole = operand.dtype === "i32";
    const values = new Float64Array(count(operand.shape));
    for (let i = 0; i < values.length; i++) {
      const value = low + random() * (high - low);
      values[i] = whole ? Math.floor(value) : value;
    }
    return encode(operand.dtype, values);
  });
}

export interface Run {
  outputs: TensorData[];
  /** Every operand after the run. */
  inputs: (TensorData | undefined)[];
}

export interface RunOptions {
  /** Use the reference instead of a kernel. */
  reference?: boolean;
  /** Set HEDDLE_CHECK=1: compare every node with its reference, and place sentinels after every output. */
  checked?: boolean;
  /** Compute float operands in an earlier node, so that the planner may share their memory with the output. */
  inplace?: boolean;
  /** Make leading dimensions of this size symbolic with a larger bound. */
  symbolic?: number | undefined;
  threads?: number;
}

/** The tested device: HEDDLE_DEVICE, `cpu` or `cuda`. References run on the CPU. */
export const testDevice = process.env.HEDDLE_DEVICE || "cpu";

/** Whether the addon is built by scripts/test-asan.mjs, which checks for memory errors rather than results. */
export const sanitized = Boolean(process.env.HEDDLE_SANITIZED);

const lanes = new Map<string, NativeLaneHandle>();
function lane(threads: number, device: string): NativeLaneHandle {
  const key = device === "cpu" ? `${threads}` : device;
  let found = lanes.get(key);
  if (!found) {
    found = device === "cpu" ? new binding.NativeLane(threads) : new binding.NativeLane(1, 0);
    lanes.set(key, found);
  }
  return found;
}

function withEnvironment<T>(values: Record<string, string | undefined>, body: () => T): T {
  const before = Object.keys(values).map((k) => [k, process.env[k]] as const);
  const set = (key: string, value: string | undefined) => {
    if (value === undefined) delete process.env[key];
    else process.env[key] = value;
  };
  for (const [k, v] of Object.entries(values)) set(k, v);
  try {
    return body();
  } finally {
    for (const [k, v] of before) set(k, v);
  }
}

/** Written after every operand: NaN for floats, −1 for integers, so that out-of-bounds reads are visible. */
const tail = new Uint8Array(64).fill(0xff);
const symbolBound = 11;

function withTail(content: TensorData): Uint8Array {
  const bytes = new Uint8Array(content.byteLength + tail.length);
  bytes.set(new Uint8Array(content.buffer, content.byteOffset, content.byteLength));
  bytes.set(tail, content.byteLength);
  return bytes;
}

/** Maps an operand from a file, like a model's weights. */
function mapped(content: TensorData, lane: NativeLaneHandle): NativeTensorHandle {
  const folder = mkdtempSync(join(tmpdir(), "heddle-operand-"));
  const path = join(folder, "operand");
  const bytes = withTail(content);
  writeFileSync(path, bytes);
  try {
    return new binding.NativeTensor(new binding.MappedFile(path), 0, bytes.length, lane);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs the op of a case on the given data. Throws if it writes past an operand. */
export async function runOp(
  c: OpCase,
  data: readonly (TensorData | undefined)[],
  options: RunOptions = {},
): Promise<Run> {
  const isSymbol = (shape: readonly number[]) => options.symbolic !== undefined && shape[0] === options.symbolic;
  const values: number[] = [];
  const addValue = ({ dtype, shape }: { dtype: DType; shape: readonly number[] }): number => {
    ids += 1;
    values.push(DTYPES[dtype], shape.length, ...(isSymbol(shape) ? [-1, ...shape.slice(1)] : shape));
    return ids - 1;
  };
  let ids = 0;
  const operandIds = c.inputs.map((operand) => (operand ? addValue(operand) : -1));
  const bound = operandIds.filter((id) => id >= 0);
  const nodes: ProgramDescription["nodes"][number][] = [];
  const usedIds = operandIds.map((id, i) => {
    const operand = c.inputs[i];
    if (
      !options.inplace ||
      !operand ||
      !(operand.dtype === "f32" || operand.dtype === "bf16") ||
      c.mutates?.includes(i) ||
      c.mapped === i
    )
      return id;
    const copy = addValue(operand);
    nodes.push({ op: "affine", inputs: [id], outputs: [copy], attributes: ["factor", 1, "offset", 0], origin: "" });
    return copy;
  });
  const outputs = c.outputs.map(addValue);
  const attributes = Object.entries(c.attributes ?? {}).flat();
  nodes.push({ op: c.op, inputs: usedIds, outputs, attributes, origin: "" });
  const symbols = options.symbolic === undefined ? [] : [options.symbolic + symbolBound];

  const program = withEnvironment(
    { HEDDLE_REFERENCE: options.reference ? "1" : undefined, HEDDLE_CHECK: options.checked ? "1" : undefined },
    () => new binding.NativeProgram({ symbols, values, bound, inputs: [], outputs, nodes }),
  );
  const used = lane(options.threads ?? 3, options.reference ? "cpu" : testDevice);
  const present = c.inputs.flatMap((operand, i) => (operand ? [{ operand, data: data[i]!, place: i }] : []));
  const handles = await Promise.all(
    present.map(async ({ operand, data: content, place }) => {
      if (place === c.mapped) return mapped(content, used);
      const rows = isSymbol(operand.shape) ? (content.byteLength / operand.shape[0]!) * symbolBound : 0;
      const handle = new binding.NativeTensor(content.byteLength + rows + tail.length, used);
      await used.write(handle, 0, withTail(content));
      return handle;
    }),
  );
  const results = c.outputs.map(({ dtype, shape }) => new ArrayBuffer(count(shape) * bytesOf(dtype)));
  let executable: NativeExecutableHandle | undefined;
  try {
    executable = new binding.NativeExecutable(program, handles, used);
    const sizes = Int32Array.from(options.symbolic === undefined ? [] : [options.symbolic]);
    await used.run(executable, sizes, [], results, undefined);
    if (c.attributes?.int8 || c.mapped !== undefined) {
      // The first run does not pack weights. The second packs small ones.
      const again = results.map((result) => new ArrayBuffer(result.byteLength));
      await used.run(executable, sizes, [], again, undefined);
      for (const [i, result] of results.entries())
        if (Buffer.compare(Buffer.from(result), Buffer.from(again[i]!)) !== 0)
          throw new Error(`${c.op}: output ${i} of the second run differs from the first's`);
      results.splice(0, results.length, ...again);
    }
    const inputs: (TensorData | undefined)[] = c.inputs.map(() => undefined);
    for (const [i, { operand, data: content, place }] of present.entries()) {
      const bytes = await used.read(handles[i]!, 0, content.byteLength + tail.length);
      if (new Uint8Array(bytes, content.byteLength).some((b) => b !== 0xff))
        throw new Error(`${c.op}: wrote past operand ${place}`);
      inputs[place] = arrayOf(operand.dtype, bytes.slice(0, content.byteLength));
    }
    return { outputs: c.outputs.map(({ dtype }, i) => arrayOf(dtype, results[i]!)), inputs };
  } finally {
    executable?.dispose();
    for (const h of handles) h.dispose();
  }
}

/** Computes the operands that `derive` names with the reference of its op, in the operands' types. */
export async function derive(c: OpCase, data: (TensorData | undefined)[]): Promise<void> {
  if (!c.derive) return;
  const { op, from, to } = c.derive;
  const made: OpCase = { ...c, op, inputs: from.map((i) => c.inputs[i]), outputs: c.derive.outputs };
  const { outputs } = await runOp(
    made,
    from.map((i) => data[i]),
    { reference: true },
  );
  to.forEach((place, i) => {
    if (place >= 0) data[place] = outputs[i];
  });
}
