import { compileC, LineProcess } from "./process.ts";
import type { TorchTiming } from "./torch/torch.ts";

/** Starts a GPT-2 of this shape in llm.c. Returns undefined if HEDDLE_BENCH_LLMC names no checkout of llm.c, or if it does not compile. */
export async function openLlmC(
  threads: number,
  shape: { vocabSize: number; hiddenSize: number; numHiddenLayers: number; numAttentionHeads: number },
  sequences: number,
  sequenceLength: number,
): Promise<LlmCPeer | undefined> {
  const checkout = process.env.HEDDLE_BENCH_LLMC;
  // The flags of llm.c's Makefile, with gcc, whose code is faster here than clang's.
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
  /** Runs one training step: forward, backward, AdamW. */
  step(): Promise<TorchTiming> {
    return this.process.ask({});
  }
  close(): void {
    this.process.close();
  }
}
