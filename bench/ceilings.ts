import { compileC, LineProcess } from "./peers/process.ts";

/**
 * Peak GFLOP/s of all threads, measured with independent multiply-adds in registers, or in matrix tiles if the processor has them.
 * No product can be faster. 0 if the processor lacks such an instruction.
 */
export interface Ceiling {
  f32: number;
  bf16: number;
  int8: number;
  /** Time to transfer a cache line between two cores. 0 with one thread. It is much higher between cores of different dies. */
  lineNanoseconds: number;
}

/** Measures the processor's arithmetic and memory rates repeatedly, because they change within seconds on a shared machine. */
export class Ceilings {
  private readonly process: LineProcess;
  private constructor(process: LineProcess) {
    this.process = process;
  }
  /** Returns undefined if bench/peers/ceilings.c does not compile or run. */
  static async open(threads: number): Promise<Ceilings | undefined> {
    const program = compileC("ceilings", "-pthread");
    if (!program) return undefined;
    const ceilings = new Ceilings(new LineProcess(program, [String(threads)]));
    return ceilings.measure().then(
      () => ceilings,
      () => undefined,
    );
  }
  measure(): Promise<Ceiling> {
    return this.process.ask<Ceiling>({});
  }
  /** Measures the bytes per second that all threads read from memory. */
  async read(): Promise<number> {
    return 1e9 * (await this.process.ask<{ readGigabytesPerSecond: number }>("read")).readGigabytesPerSecond;
  }
  close(): void {
    this.process.close();
  }
}
