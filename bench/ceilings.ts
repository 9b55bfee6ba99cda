import { compileC, LineProcess } from "./peers/process.ts";

/** GFLOP/s of independent multiply-adds in registers (matrix tiles where there are), all threads: no product can be faster. 0: no such instruction. */
export interface Ceiling {
  f32: number;
  bf16: number;
  int8: number;
  /** That a cache line takes from one core to the next; 0 with one thread. Much more where they lie on different dies. */
  lineNanoseconds: number;
}

/** Measures the processor's arithmetic and its memory, again and again: what a shared machine gives changes within seconds. */
export class Ceilings {
  private readonly process: LineProcess;
  private constructor(process: LineProcess) {
    this.process = process;
  }
  /** Undefined where bench/peers/ceilings.c does not compile or run. */
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
  /** Bytes per second that all threads read from memory, now. */
  async read(): Promise<number> {
    return 1e9 * (await this.process.ask<{ readGigabytesPerSecond: number }>("read")).readGigabytesPerSecond;
  }
  close(): void {
    this.process.close();
  }
}
