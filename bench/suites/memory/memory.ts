// Measures the cost of training options: peak memory and step time of full, LoRA and QLoRA training, recomputation, packing and Muon, at
// real shapes. Every case runs in a separate process (memory-case.ts), because the peak of the resident set belongs to a process.
// Rounds alternate between the cases, so that a slow phase of a shared machine affects all of them. `npm run bench -- memory [--only "15M
// lora"] [--rounds N]`
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Device } from "../../../lib/graph/index.ts";
import { median, report } from "../../measure.ts";
import { benchModel } from "../../models.ts";
import type { MemoryCase, MemoryFigures } from "./memory-case.ts";

const lora = { lora: true } as const;
/** The first case of each shape is the reference for the others. */
const OPTIONS: Record<string, Omit<MemoryCase, "shape" | "threads">> = {
  "full bf16": { weights: "f32", dtype: "bf16" },
  "full f32": { weights: "f32", dtype: "f32" },
  "full bf16, checkpointing": { weights: "f32", dtype: "bf16", gradientCheckpointing: true },
  "full bf16, Muon": { weights: "f32", dtype: "bf16", muon: true },
  "lora bf16": { weights: "bf16", dtype: "bf16", ...lora },
  "lora bf16, checkpointing": { weights: "bf16", dtype: "bf16", ...lora, gradientCheckpointing: true },
  "qlora q8_0": { weights: "q8_0", dtype: "bf16", ...lora },
  "qlora q4_0": { weights: "q4_0", dtype: "bf16", ...lora },
  "qlora q4_0, checkpointing": { weights: "q4_0", dtype: "bf16", ...lora, gradientCheckpointing: true },
  "full bf16, PPO": { weights: "f32", dtype: "bf16", stage: "ppo" },
  "full bf16, reward": { weights: "f32", dtype: "bf16", stage: "reward" },
  "full bf16, rows of 16 to 256 tokens, padding": { weights: "f32", dtype: "bf16", rows: "padding" },
  "full bf16, rows of 16 to 256 tokens, packing": { weights: "f32", dtype: "bf16", rows: "packing" },
};

export async function benchMemory(device: Device, { rounds = 3, only = "" } = {}): Promise<void> {
  for (const shape of ["15M", "135M"] as const) {
    const chosen = Object.entries(OPTIONS).filter(([name]) => `${shape} ${name}`.includes(only));
    // Files are made before anything is measured.
    for (const [, { weights }] of chosen) if (weights !== "f32") await benchModel(shape, device, weights);
    const measured = chosen.map(() => [] as MemoryFigures[]);
    for (let round = 0; round < rounds; round++)
      for (const [i, [, options]] of chosen.entries())
        measured[i]!.push(await inItsOwnProcess({ shape, threads: device.threads, ...options }));
    const middle = (runs: readonly MemoryFigures[], of: keyof MemoryFigures) => median(runs.map((run) => run[of]));
    for (const [i, [name]] of chosen.entries()) {
      const runs = measured[i]!;
      const over = (of: keyof MemoryFigures) => Number((middle(runs, of) / middle(measured[0]!, of)).toFixed(3));
      report({
        name: `training memory ${shape} ${name}`,
        peakMB: Math.round(middle(runs, "peakBytes") / 1e6),
        beforeMB: Math.round(middle(runs, "beforeBytes") / 1e6),
        plannedMB: Math.round(middle(runs, "plannedBytes") / 1e6),
        stateMB: Math.round(middle(runs, "stateBytes") / 1e6),
        stepSeconds: Number(middle(runs, "stepSeconds").toPrecision(3)),
        tokensPerSecond: Math.round(middle(runs, "tokensPerSecond")),
        ...(chosen[0]![0] === "full bf16" && { peakRatio: over("peakBytes"), stepRatio: over("stepSeconds") }),
        rounds,
      });
    }
  }
}

function inItsOwnProcess(given: MemoryCase): Promise<MemoryFigures> {
  const [cwd, file] = ["../../..", "memory-case.ts"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const script = ["--import", "jiti/register", file!, JSON.stringify(given)];
  const child = spawn(process.execPath, script, { cwd, stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(text) as MemoryFigures);
      else reject(new Error(`memory-case: expected exit code 0, got ${code} of ${JSON.stringify(given)}`));
    });
  });
}
