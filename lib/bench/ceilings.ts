import { compile, type Device, type Executable, type FloatDType, linear, sum, Tensor, tensor } from "../graph/index.ts";
import type { CeilingName } from "./types.ts";

/** Larger than the caches of any processor that this is likely to meet. */
const READ_BYTES = 256 * 2 ** 20;
const GEMM_SIZE = 2048;

/** What the device does at most, measured when it is asked for: a large matrix product, a read of more than the caches hold. */
export class Ceilings {
  private readonly device: Device;
  private readonly small: boolean;
  private readonly made = new Map<CeilingName, { amount: number; executable: Executable; tensors: Tensor[] }>();

  /** @param quick small sizes, which say nothing of the machine */
  constructor(device: Device, { quick = false } = {}) {
    this.device = device;
    this.small = quick;
  }

  /** Floating point operations or bytes, a second. */
  async measure(name: CeilingName): Promise<number> {
    let found = this.made.get(name);
    if (!found) {
      found = name === "read" ? await this.read() : await this.product(name);
      this.made.set(name, found);
      await found.executable.run({}); // the first run takes the pages
    }
    const start = performance.now();
    await found.executable.run({});
    return (found.amount * 1000) / (performance.now() - start);
  }

  private async read() {
    const bytes = this.small ? 2 ** 20 : READ_BYTES;
    // Written, because the system gives one page of zeros for all that were not.
    const data = await Tensor.from(this.device, "f32", [bytes / 4], new Float32Array(bytes / 4).fill(1));
    const program = compile(() => ({ total: sum(tensor("data", "f32", [bytes / 4])) }));
    return { amount: bytes, executable: program.bind(this.device, new Map([["data", data]])), tensors: [data] };
  }

  private async product(dtype: FloatDType & CeilingName) {
    const n = this.small ? 64 : GEMM_SIZE;
    const shape = [n, n];
    const x = await filled(this.device, dtype, shape);
    const w = await filled(this.device, dtype, shape);
    const program = compile(() => ({ total: sum(linear(tensor("x", dtype, shape), tensor("w", dtype, shape))) }));
    const executable = program.bind(
      this.device,
      new Map([
        ["x", x],
        ["w", w],
      ]),
    );
    return { amount: 2 * n ** 3, executable, tensors: [x, w] };
  }

  dispose(): void {
    for (const { executable, tensors } of this.made.values()) {
      executable.dispose();
      for (const t of tensors) t.dispose();
    }
    this.made.clear();
  }
}

/** A tensor with the same numbers every time, in [-1, 1). */
export async function filled(device: Device, dtype: FloatDType, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, dtype, shape);
  const values = Float32Array.from({ length: t.elements }, (_, i) => ((i * 7919) % 2048) / 1024 - 1);
  // These numbers have at most eleven significant bits; a bf16 is the upper half of a float.
  await t.write(dtype === "f32" ? values : new Uint16Array(new Uint32Array(values.buffer).map((u) => u >>> 16)));
  return t;
}
