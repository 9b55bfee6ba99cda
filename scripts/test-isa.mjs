// Runs the op cases and test/native once for each instruction set (HEDDLE_ISA), and reports the sets that this machine cannot run.
//
//   npm run test:isa [-- [--beside-unit] PATH ...]
//
// --beside-unit skips the cases that npm test has already run: those of the portable set and of the processor's default set (test/ops).
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import {
  buildWithTests,
  cpuInfo,
  exchanges,
  root,
  runNativeTests,
  runVitest,
  testPaths,
  withSetsBelow,
} from "./testing.mjs";

const sets =
  process.arch === "arm64"
    ? ["neon", "neondot", "neoni8mm"]
    : ["baseline", "avx2", "avxvnni", "avx512", "avx512bf16", "amx"];
const asked = process.argv.slice(2).filter((argument) => argument !== "--beside-unit");
// With given paths or a selected set, npm test has not run these cases.
const besideUnit = process.argv.includes("--beside-unit") && asked.length === 0 && !process.env.HEDDLE_ISA;
const paths = testPaths(asked, ["test/ops"]);
const release = join(root, ".cmake", "release");
const emulated = join(root, ".cmake", "emulated");
buildWithTests();

async function runTests(folder, isa) {
  const inUse = cpuInfo(folder, isa)?.isa;
  if (inUse !== isa) return `FAILED: with HEDDLE_ISA=${isa} the set in use is ${inUse}`;
  console.log(`\n=== HEDDLE_ISA=${isa} ===`);
  const native = await runNativeTests(folder, { HEDDLE_ISA: isa });
  if (besideUnit && native && (isa === "baseline" || isa === own)) return "passed (its op cases: in npm test)";
  const env = { HEDDLE_ISA: isa, HEDDLE_BINARY: join(folder, "heddle.node") };
  // This test checks that a row's bits do not depend on the batch if weights are packed. The portable set and NEON have no packed quantized
  // weights.
  const packed =
    asked.length === 0 && isa !== "baseline" && !isa.startsWith("neon") ? ["test/graph/packing.test.ts"] : [];
  const { of, others } = exchanges[isa] ?? {};
  const some = asked.length === 0 && (supported.includes(of) || emulates.includes(of));
  const typescript =
    runVitest([...(some ? ["test/ops/products.test.ts"] : paths), ...packed], env) &&
    (!some || !others || runVitest(["test/ops/ops.test.ts"], env, "-t", others));
  return native && typescript ? "passed" : "FAILED";
}

const { supported, isa: own } = cpuInfo(release) ?? {};
if (!supported) {
  console.error("test:isa: the addon does not load");
  process.exit(1);
}
// Emulate the instruction sets that this processor lacks. AVX-512 and AMX need SIMDe.
const lacking = sets.filter((name) => !supported.includes(name));
const simde = lacking.some(needsSimde) && hasSimde();
const emulates = lacking.filter((name) => supported.includes("avx2") && (simde || !needsSimde(name)));

const outcomes = [];
for (const isa of sets.filter((name) => supported.includes(name))) outcomes.push([isa, await runTests(release, isa)]);

if (emulates.length > 0) {
  const isas = [...new Set(["baseline", "avx2", ...emulates.flatMap(withSetsBelow)])].join(";");
  buildWithTests(
    "--build-dir",
    emulated,
    ...["HEDDLE_EMULATE_AVX512=ON", "HEDDLE_CUDA=OFF", `HEDDLE_ISAS=${isas}`].flatMap((o) => ["-D", o]),
  );
}
for (const isa of lacking) {
  if (emulates.includes(isa))
    outcomes.push([isa, `${await runTests(emulated, isa)} (emulated: this processor lacks it)`]);
  else
    outcomes.push([isa, "NOT RUN: this processor lacks it, and SIMDe (libsimde-dev) to emulate it is not installed"]);
}

function needsSimde(isa) {
  return isa.startsWith("avx512") || isa === "amx";
}

function hasSimde() {
  const compiler = process.env.CXX ?? "c++";
  const input = "#include <simde/x86/avx512.h>\n";
  return (
    spawnSync(compiler, ["-x", "c++", "-fsyntax-only", "-"], { input, stdio: ["pipe", "ignore", "ignore"] }).status ===
    0
  );
}

console.log("\nInstruction sets:");
for (const [isa, result] of outcomes) console.log(`  ${isa.padEnd(11)} ${result}`);
const passed = outcomes.some(([, result]) => result.startsWith("passed"));
process.exit(passed && !outcomes.some(([, result]) => result.startsWith("FAILED")) ? 0 : 1);
