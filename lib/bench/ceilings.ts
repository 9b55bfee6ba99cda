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

/** Larger than the caches of any processor that this is likely to meet. */
const READ_BYTES = 256 * 2 ** 20;
const COPY_BYTES = 2 ** 30;
const GEMM_SIZE = { cpu: 2048, cuda: 8192 };

/** The part of a run that is measured: on a GPU by its own clock, without the way to it and back. */
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
 * Ceilings of a device, measured on demand: a large matrix product, and the memory bandwidth. On the CPU, the bandwidth is that of a read
 * beyond the caches' size. On a GPU, it is that of a device-to-device copy by the driver (bytes read and written).
 */
export class Ceilings {
  private readonly device: Device;
  private readonly small: boolean;
  private readonly made = new Map<CeilingName, Ceiling>();

  /** @param quick small sizes, which say nothing of the machine */
  constructor(device: Device, { quick = false } = {}) {
    this.device = device;
    this.small = quick;
  }

  /** Floating point operations or bytes, a second. */
  async measure(name: CeilingName): Promise<number> {
    let found = this.made.get(name);
    if (!found) {
      found =
        name !== "read" ? await this.product(name) : this.device.kind === "cuda" ? this.copy() : await this.read();
      this.made.set(name, found);
      await found.seconds(); // the first run takes the pages
    }
    return found.amount / (await found.seconds());
  }

  /**
   * How fast the machine is now, by something in which none of our kernels take part: a core's clock, or, for what a GPU computes, the
   * driver's copy.
   */
  async pace(onDevice: boolean): Promise<number> {
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
    // Written, because the system gives one page of zeros for all that were not.
    const data = await Tensor.fromOwn(this.device, "f32", [bytes / 4], new Float32Array(bytes / 4).fill(1));
    const program = compile(() => ({ total: sum(tensor("data", "f32", [bytes / 4])) }));
    return this.ceiling(bytes, program, { data });
  }

  private async product(dtype: FloatDType & CeilingName): Promise<Ceiling> {
    const n = this.small ? 64 : GEMM_SIZE[this.device.kind];
    const shape = [n, n];
    const x = await filled(this.device, dtype, shape);
    const w = await filled(this.device, dtype, shape);
    // One element of it is looked at, so that no copy of all is timed; the op before it writes all of them.
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
    for (const ceiling of this.made.values()) ceiling.dispose();
    this.made.clear();
  }
}

const PERIOD = 2048;

/** A tensor with the same numbers every time, in [-1, 1). */
export async function filled(device: Device, dtype: FloatDType, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, dtype, shape);
  const values = Float32Array.from({ length: PERIOD }, (_, i) => ((i * 7919) % PERIOD) / (PERIOD / 2) - 1);
  // These numbers have at most eleven significant bits; a bf16 is the upper half of a float.
  const period = dtype === "f32" ? values : new Uint16Array(new Uint32Array(values.buffer).map((u) => u >>> 16));
  const all = dtype === "f32" ? new Float32Array(t.elements) : new Uint16Array(t.elements);
  all.set(period.subarray(0, t.elements));
  // Doubled until it is full: a matrix of a GPU's size has a hundred million of them.
  for (let done = PERIOD; done < t.elements; done *= 2) all.copyWithin(done, 0, Math.min(done, t.elements - done));
  await t.writeOwn(all);
  return t;
}

/** Bytes of 8-bit floats (e4m3), the same every time, of either sign and every exponent; none of them is NaN. */
export async function filledFp8(device: Device, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, "u8", shape);
  await t.write(Uint8Array.from({ length: t.elements }, (_, i) => ((i * 7919) % 127) | ((i & 1) << 7)));
  return t;
}
