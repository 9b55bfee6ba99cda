// Runs the op cases once for each instruction set (HEDDLE_ISA) and says loudly which of them this machine cannot run.
//
//   npm run test:isa [-- PATH ...]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const sets = process.arch === "arm64" ? ["baseline", "neon"] : ["baseline", "avx2", "avx512", "avx512bf16"];
const asked = process.argv.slice(2);
const paths = (asked.length ? asked : ["test/ops"]).filter((path) => existsSync(join(root, path)));
if (paths.length === 0) {
  console.error("test:isa: no tests at the given paths");
  process.exit(1);
}

const addon = process.env.HEDDLE_BINARY ?? createRequire(import.meta.url)("node-gyp-build").path(root);

/** cpuInfo() of a process that HEDDLE_ISA forces to one set. */
function cpuInfo(isa) {
  const script =
    "const m = { exports: {} }; process.dlopen(m, process.argv[1]);" +
    "console.log(JSON.stringify(m.exports.cpuInfo()));";
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", script, addon], {
    encoding: "utf8",
    env: { ...process.env, HEDDLE_ISA: isa },
  });
  if (status !== 0) throw new Error(`cpuInfo() failed with HEDDLE_ISA=${isa}: ${stderr.trim()}`);
  return JSON.parse(stdout);
}

const { supported } = cpuInfo("");
const outcomes = [];
for (const isa of sets) {
  if (!supported.includes(isa)) {
    outcomes.push([isa, "NOT RUN: this processor lacks it"]);
    continue;
  }
  const { isa: inUse } = cpuInfo(isa);
  if (inUse !== isa) {
    outcomes.push([isa, `FAILED: HEDDLE_ISA=${isa} was ignored, ${inUse} is in use`]);
    continue;
  }
  console.log(`\n=== HEDDLE_ISA=${isa} ===`);
  const { status } = spawnSync(
    process.execPath,
    [join(root, "node_modules", "vitest", "vitest.mjs"), "run", ...paths],
    { stdio: "inherit", cwd: root, env: { ...process.env, HEDDLE_ISA: isa } },
  );
  outcomes.push([isa, status === 0 ? "passed" : "FAILED"]);
}

console.log("\nInstruction sets:");
for (const [isa, outcome] of outcomes) console.log(`  ${isa.padEnd(11)} ${outcome}`);
const ran = outcomes.filter(([, outcome]) => outcome === "passed").length;
process.exit(ran > 0 && !outcomes.some(([, outcome]) => outcome.startsWith("FAILED")) ? 0 : 1);
