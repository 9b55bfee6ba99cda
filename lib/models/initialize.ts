import { formatBytes, formatCount } from "../core/amounts.ts";
import { HeddleError, throwIfAborted } from "../core/errors.ts";
import { nextTurn } from "../core/slices.ts";
import type { ModelConfig } from "../formats/config/config.ts";
import { availableBytes } from "../graph/device.ts";
import { elementCount } from "../graph/dtype.ts";
import { type Device, Tensor } from "../graph/index.ts";
import type { WeightSpec } from "./family.ts";
import { modelWeights } from "./heads.ts";
import { generator, normal, seedOf } from "./random.ts";

/** Options for initializing weights without blocking the event loop. */
export interface DrawOptions {
  /** Stops the initialization, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
  /** Called every few milliseconds with the number of initialized parameters and the total. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

type Drawn = Pick<ModelConfig, "initializerRange" | "numHiddenLayers">;

/** Number of elements drawn at once: about two milliseconds of work. It is even, because numbers are drawn in pairs. */
const PIECE = 2 ** 16;

/**
 * Writes the initial values of one weight piece by piece, and yields the promise of each write. A weight of zeros needs no
 * write. The same seed gives the same values everywhere.
 */
function* drawInto(tensor: Tensor, name: string, { init }: WeightSpec, config: Drawn, seed: number) {
  if (init === "zeros") return;
  const deviation = config.initializerRange / (init === "residual" ? Math.sqrt(2 * config.numHiddenLayers) : 1);
  const next = generator(seedOf(name, seed));
  for (let start = 0; start < tensor.elements; start += PIECE) {
    const count = Math.min(PIECE, tensor.elements - start);
    yield tensor.writeOwn(init === "ones" ? new Float32Array(count).fill(1) : normal(count, deviation, next), start);
  }
}

/** Creates one weight. The device's lane writes it before later work. `written` resolves when it is written. */
export function newWeight(device: Device, name: string, spec: WeightSpec, config: Drawn, seed: number) {
  const tensor = Tensor.zeros(device, "f32", spec.shape);
  return { tensor, written: Promise.all(drawInto(tensor, name, spec, config, seed)) };
}

/**
 * Creates the random f32 weights of a new model, by name. The same seed gives the same weights on every machine. The
 * device's lane writes them before later work. `written` resolves when they are written.
 * @throws HeddleError OUT_OF_MEMORY
 */
export function initialWeights(
  config: ModelConfig,
  device: Device,
  seed: number,
): { weights: Map<string, Tensor>; written: Promise<unknown> } {
  const specs = neededWeights(config, device);
  const weights = new Map<string, Tensor>();
  const writes: Promise<unknown>[] = [];
  for (const [name, spec] of specs) {
    const { tensor, written } = newWeight(device, name, spec, config, seed);
    weights.set(name, tensor);
    writes.push(written);
  }
  return { weights, written: Promise.all(writes) };
}

/**
 * Like initialWeights, but without blocking the event loop. Resolves when the weights are written.
 * @throws HeddleError OUT_OF_MEMORY, ABORTED
 */
export async function drawWeights(
  config: ModelConfig,
  device: Device,
  seed: number,
  { signal, onProgress }: DrawOptions = {},
): Promise<Map<string, Tensor>> {
  const specs = neededWeights(config, device);
  const total = parametersOf(specs);
  let done = 0;
  const weights = new Map<string, Tensor>();
  try {
    for (const [name, spec] of specs) {
      const tensor = Tensor.zeros(device, "f32", spec.shape);
      weights.set(name, tensor);
      const end = done + tensor.elements;
      for (const written of drawInto(tensor, name, spec, config, seed)) {
        await written;
        // The lane finishes within microseconds, so awaiting it alone would not let the event loop run.
        await nextTurn();
        throwIfAborted(signal, "createModelAsync");
        done = Math.min(done + PIECE, end);
        onProgress?.(done, total);
      }
      if (done === end) continue;
      done = end; // new tensors are zero
      onProgress?.(done, total);
    }
    return weights;
  } catch (error) {
    for (const tensor of weights.values()) tensor.dispose();
    throw error;
  }
}

/**
 * Returns the weights to draw, after checking that memory suffices. Only the CPU is checked here, because GPUs report a
 * lack of memory themselves.
 */
function neededWeights(config: ModelConfig, device: Device): [string, WeightSpec][] {
  const specs = [...modelWeights(config)].filter(([, { optional }]) => !optional);
  const parameters = parametersOf(specs);
  const available = availableBytes();
  if (device.kind === "cpu" && parameters * 4 > available)
    throw new HeddleError(
      "OUT_OF_MEMORY",
      `model configuration: expected weights that fit in ${formatBytes(available)} of memory, got ${formatCount(parameters)} parameters, ${formatBytes(parameters * 4)} in f32`,
    );
  return specs;
}

function parametersOf(specs: readonly [string, WeightSpec][]): number {
  return specs.reduce((sum, [, { shape }]) => sum + elementCount(shape), 0);
}
