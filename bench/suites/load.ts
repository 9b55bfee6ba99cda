// Measures the time from loading to the first token and the peak memory, each in a separate process, for heddle and node-llama-cpp if
// installed.
import { spawnSync } from "node:child_process";
import { createReadStream, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Device } from "../../lib/graph/index.ts";
import { median, report } from "../measure.ts";
import { benchFolder, benchModel, fileTypes, shapeNames } from "../models.ts";

const PROMPT = 16;

interface Outcome {
  /** Time from the call that opens the file to the first token. The file is in the page cache. */
  seconds: number;
  /** Largest resident set of the process, mapped weights included. */
  peakBytes: number;
}

function runChild(script: string, args: string[]): Outcome {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
  return JSON.parse(stdout);
}

export async function benchLoad(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  if (!existsSync(fileURLToPath(new URL("../../dist/index.js", import.meta.url))))
    throw new Error("bench load: dist/index.js is missing: run `npm run build:js`");
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  const peer = peers && folder && existsSync(join(folder, "node_modules", "node-llama-cpp")) ? folder : undefined;
  const cases = shapeNames.flatMap((name) => fileTypes.map((type) => [name, type] as const));
  for (const [name, type] of cases.filter((c) => c.join(":").includes(only))) {
    const file = await benchModel(name, device, type);
    for await (const _ of createReadStream(file, { highWaterMark: 1 << 24 })); // reads the file into the page cache
    const ours: Outcome[] = [];
    const theirs: Outcome[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push(runChild("../peers/load_heddle.mjs", [file, String(PROMPT), String(device.threads)]));
      if (peer)
        theirs.push(runChild("../peers/load_llama_cpp.mjs", [peer, file, String(PROMPT), String(device.threads)]));
    }
    const summary = (all: Outcome[]) => ({
      milliseconds: Math.round(1000 * median(all.map((o) => o.seconds))),
      peakMegabytes: Math.round(Math.max(...all.map((o) => o.peakBytes)) / 1e6),
    });
    const [a, b] = [summary(ours), theirs.length ? summary(theirs) : undefined];
    report({
      name: `load to first token ${name} ${type}`,
      fileMegabytes: Math.round(statSync(file).size / 1e6),
      heddle: a,
      ...(b && { nodeLlamaCpp: b, ratio: Math.round((b.milliseconds / a.milliseconds) * 100) / 100 }),
    });
  }
  await benchQuantizing(device, rounds, only);
}

/**
 * Measures the time from loading to the first token if an f32 folder is converted to other types at load. `ratio` is relative to bf16 in
 * the same rounds.
 */
async function benchQuantizing(device: Device, rounds: number, only: string): Promise<void> {
  for (const name of shapeNames) {
    const types = fileTypes.filter((type) => type === "bf16" || `${name}:f32:${type}`.includes(only));
    if (types.length === 1 && !`${name}:f32:bf16`.includes(only)) continue;
    const folder = await benchFolder(name, device);
    for await (const _ of createReadStream(join(folder, "model.safetensors"), { highWaterMark: 1 << 24 }));
    const outcomes = types.map((): Outcome[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [i, type] of types.entries())
        outcomes[i]!.push(runChild("../peers/load_heddle.mjs", [folder, String(PROMPT), String(device.threads), type]));
    const seconds = outcomes.map((all) => median(all.map((o) => o.seconds)));
    for (const [i, type] of types.entries())
      report({
        name: `load to first token ${name} f32 as ${type}`,
        milliseconds: Math.round(1000 * seconds[i]!),
        peakMegabytes: Math.round(Math.max(...outcomes[i]!.map((o) => o.peakBytes)) / 1e6),
        ratio: Math.round((seconds[i]! / seconds[0]!) * 100) / 100,
      });
  }
}
