import {
  compile,
  type Device,
  type Executable,
  type FloatDType,
  gatherRows,
  type Inputs,
  input,
  linear,
  type Program,
  sum,
  Tensor,
  tensor,
} from "../graph/index.ts";
import { clockRate } from "./clock.ts";
import type { CeilingName } from "./types.ts";

/**
 * Number of bytes that the ceiling `read` reads on a CPU. It exceeds the caches of most processors. Some server processors have larger
 * caches, and their result is too high.
 */
const READ_BYTES = 256 * 2 ** 20;
const COPY_BYTES = 2 ** 30;
const GEMM_SIZE = { cpu: 2048, cuda: 8192 };

/** Returns the total seconds of `times` runs. On a GPU, the GPU's clock measures a run without launch and transfer. */
export async function runSeconds(executable: Executable, inputs: Inputs, times = 1): Promise<number> {
  let seconds = 0;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await executable.run(inputs);
    seconds += executable.device.kind === "cuda" ? executable.deviceSeconds : (performance.now() - start) / 1000;
  }
  return seconds;
}

interface Ceiling {
  amount: number;
  seconds(): Promise<number>;
  dispose(): void;
}

/**
 * Ceilings of a device, measured on demand: the rate of a large matrix product, and the memory bandwidth. On the CPU, the bandwidth is that
 * of a read beyond the caches' size. On a GPU, it is that of a device-to-device copy by the driver (bytes read and written).
 */
export class Ceilings {
  private readonly device: Device;
  private readonly small: boolean;
  private readonly ceilings = new Map<CeilingName, Ceiling>();

  /** @param quick whether to use small sizes, whose results mean nothing */
  constructor(device: Device, { quick = false } = {}) {
    this.device = device;
    this.small = quick;
  }

  /** Returns floating-point operations or bytes per second. */
  async measure(name: CeilingName): Promise<number> {
    let found = this.ceilings.get(name);
    if (!found) {
      found =
        name !== "read" ? await this.product(name) : this.device.kind === "cuda" ? this.copy() : await this.read();
      this.ceilings.set(name, found);
      await found.seconds(); // the first run commits the memory pages
    }
    return found.amount / (await found.seconds());
  }

  /**
   * Returns the machine's current speed, measured without kernels of this package. For work on a GPU, it is the bandwidth of the driver's copy.
   * Otherwise it is a core's clock rate.
   */
  async machineSpeed(onDevice: boolean): Promise<number> {
    return onDevice && this.device.kind === "cuda" ? this.measure("read") : clockRate();
  }

  private copy(): Ceiling {
    const bytes = this.small ? 2 ** 20 : COPY_BYTES;
    const [from, to] = [0, 1].map(() => Tensor.zeros(this.device, "f32", [bytes / 4]));
    return {
      amount: 2 * bytes * 4,
      seconds: () => to!.copySeconds(from!, 4),
      dispose: () => [from, to].forEach((t) => void t!.dispose()),
    };
  }

  private async read(): Promise<Ceiling> {
    const bytes = this.small ? 2 ** 20 : READ_BYTES;
    // Fill the memory, because the system maps all unwritten pages to one page of zeros.
    const data = await Tensor.fromOwn(this.device, "f32", [bytes / 4], new Float32Array(bytes / 4).fill(1));
    const program = compile(() => ({ total: sum(tensor("data", "f32", [bytes / 4])) }));
    return this.ceiling(bytes, program, { data });
  }

  private async product(dtype: FilledDType): Promise<Ceiling> {
    const n = this.small ? 64 : GEMM_SIZE[this.device.kind];
    const shape = [n, n];
    const x = await filled(this.device, dtype, shape);
    const w = await filled(this.device, dtype, shape);
    // Read back only one row, so that copying the result is not timed. The product is still computed completely.
    const program = compile(() => ({
      row: gatherRows(linear(tensor("x", dtype, shape), tensor("w", dtype, shape)), input("row", "i32", [1])),
    }));
    return this.ceiling(2 * n ** 3, program, { x, w }, { row: Int32Array.of(0) });
  }

  private ceiling(amount: number, program: Program, tensors: Record<string, Tensor>, inputs: Inputs = {}): Ceiling {
    const executable = program.bind(this.device, new Map(Object.entries(tensors)));
    return {
      amount,
      seconds: () => runSeconds(executable, inputs),
      dispose() {
        executable.dispose();
        for (const t of Object.values(tensors)) t.dispose();
      },
    };
  }

  dispose(): void {
    for (const ceiling of this.ceilings.values()) ceiling.dispose();
    this.ceilings.clear();
  }
}

const PERIOD = 2048;

/** The types of the tensors that `filled` creates. */
export type FilledDType = Exclude<FloatDType, "f16">;

/** Creates a tensor with fixed numbers in [-1, 1). */
export async function filled(device: Device, dtype: FilledDType, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, dtype, shape);
  // 7919 and PERIOD are coprime, so the products mod PERIOD run through all residues in a scattered order.
  const values = Float32Array.from({ length: PERIOD }, (_, i) => ((i * 7919) % PERIOD) / (PERIOD / 2) - 1);
  // A bf16 is the upper half of an f32, so the shift truncates.
  const period = dtype === "f32" ? values : new Uint16Array(new Uint32Array(values.buffer).map((u) => u >>> 16));
  const all = dtype === "f32" ? new Float32Array(t.elements) : new Uint16Array(t.elements);
  all.set(period.subarray(0, t.elements));
  // Fill by doubling, which is fast enough for a GPU-sized matrix of a hundred million numbers.
  for (let done = PERIOD; done < t.elements; done *= 2) all.copyWithin(done, 0, Math.min(done, t.elements - done));
  await t.writeOwn(all);
  return t;
}

/** Creates a tensor of fixed 8-bit floats (e4m3) with both signs and all exponents, without NaN. */
export async function filledFp8(device: Device, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, "u8", shape);
  await t.write(Uint8Array.from({ length: t.elements }, (_, i) => ((i * 7919) % 127) | ((i & 1) << 7)));
  return t;
}
