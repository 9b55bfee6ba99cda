// Runs the op cases and test/native once for each instruction set (HEDDLE_ISA), and says loudly which of them this
// machine cannot run.
//
//   npm run test:isa [-- PATH ...]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildWithTests, root, runNativeTests, runVitest, testPaths } from "./testing.mjs";

const sets = process.arch === "arm64" ? ["baseline", "neon"] : ["baseline", "avx2", "avx512", "avx512bf16"];
const paths = testPaths(process.argv.slice(2), ["test/ops"]);
const folder = join(root, ".cmake", "release");
const addon = join(folder, "heddle.node");
buildWithTests();

/** cpuInfo() of a process that HEDDLE_ISA forces to one set; undefined where that process fails. */
function cpuInfo(isa) {
  const script =
    "const m = { exports: {} }; process.dlopen(m, process.argv[1]); console.log(JSON.stringify(m.exports.cpuInfo()));";
  const { HEDDLE_ISA: _, ...env } = process.env;
  if (isa) env.HEDDLE_ISA = isa;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", script, addon], { encoding: "utf8", env });
  if (status !== 0) console.error(stderr.trim());
  return status === 0 ? JSON.parse(stdout) : undefined;
}

function outcome(isa) {
  if (!supported.includes(isa)) return "NOT RUN: this processor lacks it";
  const inUse = cpuInfo(isa)?.isa;
  if (inUse !== isa) return `FAILED: with HEDDLE_ISA=${isa} the set in use is ${inUse}`;
  console.log(`\n=== HEDDLE_ISA=${isa} ===`);
  const native = runNativeTests(folder, { HEDDLE_ISA: isa });
  const typescript = runVitest(paths, { HEDDLE_ISA: isa, HEDDLE_BINARY: addon });
  return native && typescript ? "passed" : "FAILED";
}

const supported = cpuInfo(undefined)?.supported;
if (!supported) {
  console.error(`test:isa: ${addon} does not load`);
  process.exit(1);
}
const outcomes = sets.map((isa) => [isa, outcome(isa)]);
console.log("\nInstruction sets:");
for (const [isa, result] of outcomes) console.log(`  ${isa.padEnd(11)} ${result}`);
const passed = outcomes.some(([, result]) => result === "passed");
process.exit(passed && !outcomes.some(([, result]) => result.startsWith("FAILED")) ? 0 : 1);
