// Measures each of the first tokens after a prompt, in fresh processes. Weights are packed for the kernels of single rows while the first
// tokens are computed, and no token may wait long for it.
import { spawnSync } from "node:child_process";
import { createReadStream, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Device } from "../../lib/graph/index.ts";
import { median, report } from "../measure.ts";
import { benchModel, shapeNames } from "../models.ts";

const PROMPT = 64;
const TOKENS = 40;
/** Number of tokens at the end whose median is that of a model with packed weights. */
const SETTLED = 16;

interface Outcome {
  /** Time of each token. The first one contains the prompt. */
  milliseconds: number[];
  peakBytes: number;
}

function runChild(file: string, threads: number): Outcome {
  const path = fileURLToPath(new URL("../peers/first_tokens_heddle.mjs", import.meta.url));
  const args = [path, file, String(PROMPT), String(TOKENS), String(threads)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`first tokens: ${stderr}`);
  return JSON.parse(stdout);
}

const rounded = (value: number) => Math.round(value * 10) / 10;

/** Reports the median time of each token, and the slowest after the first as a multiple of the settled ones. */
export async function benchFirstTokens(device: Device, { rounds = 10, only = "" } = {}): Promise<void> {
  const types = ["bf16", "q8_0", "q4_0"] as const;
  const cases = shapeNames
    .filter((name) => name !== "15M")
    .flatMap((name) => types.map((type) => [name, type] as const));
  for (const [name, type] of cases.filter((one) => one.join(":").includes(only))) {
    const file = await benchModel(name, device, type);
    for await (const _ of createReadStream(file, { highWaterMark: 1 << 24 })); // reads the file into the page cache
    const outcomes = Array.from({ length: rounds }, () => runChild(file, device.threads));
    const times = Array.from({ length: TOKENS }, (_, i) => median(outcomes.map((one) => one.milliseconds[i]!)));
    const settled = median(times.slice(-SETTLED));
    report({
      name: `first tokens ${name} ${type}`,
      milliseconds: times.slice(0, 12).map(rounded),
      settled: rounded(settled),
      slowest: Math.round((Math.max(...times.slice(1)) / settled) * 100) / 100,
      peakMegabytes: Math.round(Math.max(...outcomes.map((one) => one.peakBytes)) / 1e6),
      fileMegabytes: Math.round(statSync(file).size / 1e6),
    });
  }
}
