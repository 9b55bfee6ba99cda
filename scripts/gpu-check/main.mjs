// The program of scripts/gpu-check.sh, which documents its usage.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writePack } from "./pack.mjs";
import { runSteps, summaryText } from "./runner.mjs";
import { deviceFacts, stepNames, stepsOf } from "./steps.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    emulator: { type: "boolean", default: false },
    "no-gpu": { type: "boolean", default: false },
    only: { type: "string" },
    seconds: { type: "string", default: "530" },
    pack: { type: "string" },
  },
});

if (values.pack !== undefined) process.exit(writePack(resolve(values.pack)));
if (positionals.length !== 1 || (values.emulator && values["no-gpu"])) {
  console.error("gpu-check: expected one output folder, and at most one of --emulator and --no-gpu");
  process.exit(2);
}

const out = resolve(positionals[0]);
const mode = values.emulator ? "emulator" : values["no-gpu"] ? "no-gpu" : "gpu";
const seconds = Number(values.seconds);
const only = values.only?.split(",");
const unknown = only?.find((name) => !stepNames().includes(name));
if (unknown !== undefined || !(seconds > 0)) {
  console.error(
    `gpu-check: expected --only of ${stepNames().join(", ")} and a positive --seconds, got ${unknown ?? values.seconds}`,
  );
  process.exit(2);
}

mkdirSync(out, { recursive: true });
for (const name of ["log.txt", "summary.txt", "summary.json"]) rmSync(join(out, name), { force: true });
const start = Date.now();
const summary = { mode, started: new Date(start).toISOString(), device: deviceFacts() ?? null, seconds: 0, steps: [] };

// Writes atomically, so that an interrupted check leaves the last complete summary.
function write(name, text) {
  const path = join(out, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}
function record() {
  summary.seconds = Number(((Date.now() - start) / 1000).toFixed(1));
  write("summary.json", `${JSON.stringify(summary, null, 1)}\n`);
  write("summary.txt", summaryText(summary));
}

writeFileSync(join(out, "log.txt"), "");
record();
const steps = stepsOf({ mode, out }).filter(({ name }) => !only || only.includes(name));
await runSteps(steps, {
  log: join(out, "log.txt"),
  deadline: start + seconds * 1000,
  onResult(result) {
    summary.steps.push(result);
    record();
    const { name, status, seconds: took, why } = result;
    console.log(`${status.padEnd(8)} ${name}${took === undefined ? "" : ` (${took} s)`}${why ? `: ${why}` : ""}`);
  },
});
console.log(`\n${summaryText(summary)}`);
process.exit(summary.steps.every(({ status }) => status !== "failed" && status !== "skipped") ? 0 : 1);
