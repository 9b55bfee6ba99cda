import { compile, type Device, type Executable, sum, Tensor, tensor } from "../lib/graph/index.ts";
import type { Ceilings } from "./ceilings.ts";
import { seconds } from "./measure.ts";

const BYTES = 256 * 2 ** 20;

/**
 * Measures how fast all threads together read memory, which limits a decode step. It uses bench/peers/ceilings.c. Without a C compiler it
 * sums a tensor far larger than the caches, which is about a tenth slower on Zen 4.
 */
export class ReadBandwidth {
  private constructor(
    private readonly data: Tensor,
    private readonly executable: Executable,
    private readonly ceilings: Ceilings | undefined,
  ) {}

  static async open(device: Device, ceilings: Ceilings | undefined): Promise<ReadBandwidth> {
    const shape = [BYTES / 4];
    // Write ones, because the system maps all unwritten pages to a single page of zeros.
    const data = await Tensor.from(device, "f32", shape, new Float32Array(BYTES / 4).fill(1));
    const program = compile(() => ({ total: sum(tensor("data", "f32", shape)) }));
    return new ReadBandwidth(data, program.bind(device, new Map([["data", data]])), ceilings);
  }

  /**
   * Measures the current bytes per second. The rate drifts on a shared machine, so it is measured along with each figure that refers to it.
   */
  async measure(): Promise<number> {
    const measured = await this.ceilings?.read(); // 0 if its buffer could not be allocated
    return measured || BYTES / (await seconds(() => this.executable.run({})));
  }

  dispose(): void {
    this.executable.dispose();
    this.data.dispose();
  }
}
