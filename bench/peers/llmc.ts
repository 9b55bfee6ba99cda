import { compileC, LineProcess } from "./process.ts";
import type { TorchTiming } from "./torch.ts";

/** A GPT-2 of this shape in llm.c; undefined where HEDDLE_BENCH_LLMC does not name its checkout, or it does not compile. */
export async function openLlmC(
  threads: number,
  shape: { vocabSize: number; hiddenSize: number; numHiddenLayers: number; numAttentionHeads: number },
  sequences: number,
  sequenceLength: number,
): Promise<LlmCPeer | undefined> {
  const checkout = process.env.HEDDLE_BENCH_LLMC;
  // Its Makefile's flags; gcc's code was up to 7 % faster here than clang's.
  const flags = ["-Ofast", "-march=native", "-fopenmp", "-DOMP", `-I${checkout}`, "-lm"];
  const program = checkout ? compileC("llmc", ...flags) : undefined;
  if (!program) return undefined;
  const { vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads } = shape;
  const sizes = [vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, sequences, sequenceLength];
  const env = { ...process.env, OMP_NUM_THREADS: String(threads), OMP_PROC_BIND: "close", OMP_PLACES: "threads" };
  const child = new LineProcess(program, sizes.map(String), { env });
  return (await child.read()) ? new LlmCPeer(child) : undefined;
}

export class LlmCPeer {
  private readonly process: LineProcess;
  constructor(process: LineProcess) {
    this.process = process;
  }
  /** One training step: forward, backward, AdamW. */
  step(): Promise<TorchTiming> {
    return this.process.ask({});
  }
  close(): void {
    this.process.close();
  }
}
