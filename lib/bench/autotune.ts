import { checkPath, checkSignal, HeddleError, invalidArgument, throwIfAborted } from "../core/errors.ts";
import { checkFunction, checkWhole } from "../core/option-values.ts";
import { DTYPES } from "../graph/dtype.ts";
import { bytesOf, type Device, deviceInfo, openDevice, type Tensor } from "../graph/index.ts";
import { knownChoices, tuningKey, tuningPath, writeTuning } from "../graph/tuning.ts";
import { LanguageModel, rejectUnknownNames } from "../language-model/index.ts";
import { linearLayers } from "../models/adapters/linear-layers.ts";
import { type FilledDType, filled, runSeconds } from "./ceilings.ts";
import { median } from "./measure.ts";
import { fewRows, type Layout, operands, product } from "./suites/gemm.ts";

/** Options of `autotune`. @experimental */
export interface AutotuneOptions {
  /** A CUDA device. */
  device?: string | Device | undefined;
  /** As in `openDevice`. */
  allowTf32?: boolean | undefined;
  /** Path of the model whose matrix products are measured. Default: the embedded model. */
  model?: string | undefined;
  /**
   * Numbers of rows to measure. Each is rounded up to a power of two, at least 8, and covers all numbers that round up to it. Default: 16, 64,
   * 256, 1024 and 4096.
   */
  rows?: readonly number[] | undefined;
  /** Element type of activations in training. If given, forward and backward products are measured too. */
  training?: "f32" | "bf16" | undefined;
  /** Number of measured rounds. Default 7. */
  rounds?: number | undefined;
  /**
   * Path of the file with the choices. Default: HEDDLE_TUNING, or a file in the user's cache folder. null writes no
   * file.
   */
  path?: string | null | undefined;
  /** Called for each measured product. */
  onResult?: ((result: TunedProduct) => void) | undefined;
  /** Stops the run. */
  signal?: AbortSignal | undefined;
}

const NAMES: Record<keyof AutotuneOptions, true> = {
  device: true,
  allowTf32: true,
  model: true,
  rows: true,
  training: true,
  rounds: true,
  path: true,
  onResult: true,
  signal: true,
};

/** A matrix product, and the speed of each kernel for it. @experimental */
export interface TunedProduct {
  /** Rows, columns, depth, the types of both operands and of the result, and their layout. */
  product: string;
  /** The kernels and tiles that can compute it, with median seconds. The device's default is the first. */
  variants: { name: string; seconds: number }[];
  /** Name of the variant that later runs use. */
  chosen: string;
}

/** The results of `autotune`. @experimental */
export interface AutotuneReport {
  /** The GPU, its compute capability, the driver, and heddle's version. */
  device: string;
  /** The measured products. */
  results: TunedProduct[];
  /** Path of the written file. */
  path?: string;
}

/** Minimum share of the default kernel's time that another kernel must save. Smaller gains are noise. */
const MIN_GAIN = 0.03;

interface Product {
  layout: Layout;
  dtype: FilledDType;
  m: number;
  n: number;
  k: number;
}

/**
 * Measures the candidate kernels and tiles of a CUDA device for the products of a model's layers. It stores the names of the fastest in a
 * file. Later runs with the same GPU, driver and version of heddle use this file. A change of tiles changes the last bits of results.
 * Deterministic generation ignores the file.
 * @throws HeddleError UNSUPPORTED for a device other than CUDA, INVALID_ARGUMENT, errors of loading a model, INVALID_FILE or IO for the
 * file, ABORTED
 * @experimental
 */
export async function autotune(options: AutotuneOptions = {}): Promise<AutotuneReport> {
  rejectUnknownNames(options, Object.keys(NAMES));
  const { rows = [16, 64, 256, 1024, 4096], rounds = 7, model = "default", training, signal, onResult } = options;
  if (!Array.isArray(rows)) throw invalidArgument("rows", "an array of whole numbers", rows);
  for (const m of rows) checkWhole("rows", m, 1, 2 ** 20);
  checkWhole("rounds", rounds, 1, 1000);
  if (training !== undefined && training !== "f32" && training !== "bf16")
    throw invalidArgument("training", "f32 or bf16", training);
  checkPath("model", model, "a path or default");
  if (options.path != null) checkPath("path", options.path);
  checkFunction("onResult", onResult);
  checkSignal(signal);
  const device = openDevice({ device: options.device ?? "cuda", allowTf32: options.allowTf32 });
  if (device.kind !== "cuda")
    throw new HeddleError("UNSUPPORTED", `autotune: expected a CUDA device, got ${device.name}`);
  const info = deviceInfo().cuda.devices[Number(device.name.split(":")[1])]!;
  const choices = new Map<string, string>();
  const results: TunedProduct[] = [];
  try {
    for (const one of await productsOf(model, rows, training)) {
      throwIfAborted(signal, "autotune");
      const keys = variantsOf(device, one);
      if (choices.has(keys[0]!.key)) continue;
      const { names } = keys[0]!;
      if (names.length < 2) continue;
      const result = { product: keys[0]!.key, ...(await measure(device, one, keys[0]!, rounds, signal)) };
      // Only the first result type is measured. The choice is stored for the other one too.
      for (const { key } of keys) choices.set(key, result.chosen);
      results.push(result);
      onResult?.(result);
    }
  } finally {
    device.lane.choose([...knownChoices(info), ...choices]);
  }
  const path = options.path === undefined ? tuningPath() : (options.path ?? undefined);
  if (path !== undefined) writeTuning(path, tuningKey(info), choices);
  return { device: tuningKey(info), results, ...(path !== undefined && { path }) };
}

/** Returns the distinct matrix products of a model's linear layers. */
async function productsOf(
  path: string,
  rows: readonly number[],
  training: FilledDType | undefined,
): Promise<Product[]> {
  await using model = await LanguageModel.load(path, { device: "cpu", threads: 1 });
  const found = new Map<string, Product>();
  const add = (one: Product) => found.set(JSON.stringify(one), one);
  for (const [name, { inputs, outputs }] of linearLayers(model.model)) {
    const { dtype } = model.model.asStored(`${name}.weight`);
    for (const m of rows) {
      if (dtype === "f32" || dtype === "bf16") add({ layout: "NT", dtype, m, n: outputs, k: inputs });
      if (training === undefined) continue;
      add({ layout: "NT", dtype: training, m, n: outputs, k: inputs });
      add({ layout: "NN", dtype: training, m, n: inputs, k: outputs });
      add({ layout: "TN", dtype: training, m: outputs, n: inputs, k: m });
    }
  }
  return [...found.values()];
}

/**
 * Returns the device's variants of a product, for a result of the operands' type and for a result in f32. A `TN` product, which computes a
 * gradient, has only the latter.
 */
function variantsOf(device: Device, { layout, dtype, m, n, k }: Product) {
  const type = DTYPES[dtype];
  const results = layout === "TN" ? [DTYPES.f32] : [type, DTYPES.f32];
  return results.map((result) => device.lane.variants(m, n, k, type, type, result, layout));
}

async function measure(
  device: Device,
  { layout, dtype, m, n, k }: Product,
  { key, names }: { key: string; names: readonly string[] },
  rounds: number,
  signal: AbortSignal | undefined,
): Promise<Omit<TunedProduct, "product">> {
  const tensors = new Map<string, Tensor>();
  try {
    // A model's decoding step reads each weight from memory, so the weights of a case must not fit into the cache either.
    const count = fewRows(device, m, n * k * bytesOf(dtype)).count;
    for (const [name, shape] of Object.entries(operands(layout, m, n, k, count)))
      tensors.set(name, await filled(device, dtype, shape));
    const program = product(layout, dtype, m, n, k, count);
    // Bind a separate executable per variant, because a recorded CUDA graph keeps its kernel.
    const executables = names.map(() => program.bind(device, tensors));
    try {
      const seconds = names.map((): number[] => []);
      for (let round = -2; round < rounds; round++)
        for (const [i, name] of names.entries()) {
          throwIfAborted(signal, "autotune");
          device.lane.choose([[key, name]]);
          const taken = await runSeconds(executables[i]!, { row: Int32Array.of(0) });
          if (round >= 0) seconds[i]!.push(taken); // two warm-up rounds record the CUDA graph
        }
      const variants = names.map((name, i) => ({ name, seconds: median(seconds[i]!) / count }));
      const fastest = variants.reduce((a, b) => (b.seconds < a.seconds ? b : a));
      const standard = variants[0]!;
      return { variants, chosen: (fastest.seconds < standard.seconds * (1 - MIN_GAIN) ? fastest : standard).name };
    } finally {
      for (const executable of executables) executable.dispose();
    }
  } finally {
    for (const t of tensors.values()) t.dispose();
  }
}
