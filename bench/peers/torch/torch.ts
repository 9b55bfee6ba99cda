import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LineProcess } from "../process.ts";

export interface TorchDescription {
  torch: string;
  threads: number;
  /** The library of its f32 products. "reference" is many times slower than other libraries, so it is not a fair comparison. */
  blas: string;
}

/**
 * Starts a Python process with PyTorch that runs <script>.py. Undefined if PyTorch is not available. HEDDLE_BENCH_PYTHON names
 * the interpreter.
 */
export async function openTorch(
  script: "torch_ops" | "torch_train" | "torch_finetune" | "torch_prefill" | "torch_embed",
  threads: number,
): Promise<TorchPeer | undefined> {
  const python = process.env.HEDDLE_BENCH_PYTHON ?? "/usr/bin/python3";
  if (!existsSync(python)) return undefined;
  // Prefer Debian's OpenMP build of OpenBLAS and bind threads. The pthread build competes with libgomp for cores, and is far slower.
  const blas = "/usr/lib/x86_64-linux-gnu/openblas-openmp";
  const env = {
    ...process.env,
    OMP_NUM_THREADS: String(threads),
    OMP_PROC_BIND: "close",
    OMP_PLACES: "threads",
    MALLOC_TRIM_THRESHOLD_: "1073741824",
    MALLOC_MMAP_THRESHOLD_: "1073741824",
    ...(existsSync(blas) && { LD_LIBRARY_PATH: blas }),
  };
  // Remove variables that make OpenBLAS use another processor's kernels, because users run it without them.
  for (const name of ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"])
    delete (env as Record<string, string | undefined>)[name];
  const file = fileURLToPath(new URL(`${script}.py`, import.meta.url));
  const child = new LineProcess(python, [file, String(threads)], { env });
  const description = await child.read<TorchDescription>();
  return description && new TorchPeer(child, description);
}

export interface TorchTiming {
  /** Seconds per run, as the mean over `repeat` runs. */
  seconds: number;
  /** Peak memory minus the memory before the run and the gradients. Only for cases that request it. */
  extraBytes?: number;
  /** Bytes of the process's largest resident set. */
  peakBytes?: number;
}

export class TorchPeer {
  readonly description: TorchDescription;
  private readonly process: LineProcess;
  constructor(process: LineProcess, description: TorchDescription) {
    this.process = process;
    this.description = description;
  }
  time(benchCase: Record<string, unknown>, repeat: number): Promise<TorchTiming> {
    return this.process.ask({ case: benchCase, repeat });
  }
  close(): void {
    this.process.close();
  }
}
