// Functions that the test scripts share: they build and run the native test programs, run vitest, and report counts to .ci/run.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Tests that pass on every device. HEDDLE_DEVICE selects the device. */
export const deviceTests = {
  ops: [
    "test/ops/ops.test.ts",
    "test/ops/products.test.ts",
    "test/ops/row-sums.test.ts",
    "test/ops/cached-rows.test.ts",
    "test/ops/empty.test.ts",
  ],
  models: [
    "test/graph/profile.test.ts",
    "test/inference/whole-models/golden.test.ts",
    "test/inference/whole-models/device.test.ts",
    "test/inference/whole-models/fixtures.test.ts",
    "test/train/language-modeling/device.test.ts",
    "test/train/language-modeling/stories260k.test.ts",
  ],
  /** Tests that take little time even on an emulated device. */
  quick: [
    "test/graph/profile.test.ts",
    "test/inference/whole-models/golden.test.ts",
    "test/inference/whole-models/device.test.ts",
    "test/train/language-modeling/device.test.ts",
  ],
  /** Tests that are too large for an emulated device. */
  large: ["test/default-model/model.test.ts"],
};

/**
 * Instruction sets that replace only some kernels of another set, `of` (native/cpu/isa/isa_*.cc): products, and ops whose names match
 * `others`.
 */
export const exchanges = {
  avxvnni: { of: "avx2" },
  avx512bf16: { of: "avx512", others: "attention|logprob" },
  amx: { of: "avx512bf16", others: "attention|logprob" },
  neondot: { of: "neon" },
  neoni8mm: { of: "neon", others: "attention|logprob" },
};

/** Returns an instruction set and the sets whose kernels it keeps. A build needs all of them. */
export function withSetsBelow(isa) {
  const below = exchanges[isa]?.of;
  return below ? [isa, ...withSetsBelow(below)] : [isa];
}

/** Runs build-addon.mjs with `options`. Exits if it fails. */
export function buildAddon(...options) {
  const script = join(root, "scripts", "build-addon.mjs");
  const { status } = spawnSync(process.execPath, [script, ...options], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

/** Builds the addon and every program of test/native. `options` are those of build-addon.mjs. */
export function buildWithTests(...options) {
  buildAddon("-D", "HEDDLE_TESTS=ON", ...options);
}

/**
 * Returns cpuInfo() of a process with HEDDLE_ISA=`isa`, or with the default set if `isa` is undefined. Returns undefined if the process
 * fails. `node` is the command that starts Node.
 */
export function cpuInfo(folder, isa, node = [process.execPath]) {
  const script =
    "const m = { exports: {} }; process.dlopen(m, process.argv[1]); console.log(JSON.stringify(m.exports.cpuInfo()));";
  const { HEDDLE_ISA: _, ...env } = process.env;
  if (isa) env.HEDDLE_ISA = isa;
  const args = [...node.slice(1), "-e", script, join(folder, "heddle.node")];
  const { status, stdout, stderr } = spawnSync(node[0], args, { encoding: "utf8", env });
  if (status !== 0) console.error(stderr.trim());
  return status === 0 ? JSON.parse(stdout) : undefined;
}

/** Runs each program of test/native in `folder`. Returns true if all exit with 0. `emulator` is a command that starts them. */
export function runNativeTests(folder, env, emulator = []) {
  const source = join(root, "test", "native");
  const files = existsSync(source) ? readdirSync(source).filter((name) => name.endsWith(".cc")) : [];
  // Start with the largest sources, which take longest.
  const size = new Map(files.map((file) => [file, statSync(join(source, file)).size]));
  files.sort((a, b) => size.get(b) - size.get(a));
  const commands = files.map((file) => [`test/native/${file}`, [...emulator, join(folder, file.replace(/\.cc$/, ""))]]);
  return runPrograms(commands, env);
}

/** Runs named commands, as many in parallel as the machine has processors. Returns true if all exit with 0. */
export async function runPrograms(commands, env) {
  const left = [...commands];
  let passed = 0;
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [name, command] = next;
      const { status, output } = await finished(command, { ...process.env, ...env });
      console.log(`\n--- ${name}\n${output}`);
      if (status === 0) passed += 1;
      else console.error(`${name} ended with ${status}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  report({ numPassedTests: passed, numFailedTests: commands.length - passed });
  return passed === commands.length;
}

/**
 * Runs a program to its end. Returns its output, and as `status` its exit status, the signal that ended it, or the error's message. SIGKILL
 * ends a program that takes more than `timeout` milliseconds.
 */
export function finished([program, ...args], env, { cwd = process.cwd(), timeout } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env, cwd, timeout, killSignal: "SIGKILL" });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    child.on("error", (error) => resolve({ status: error.message, output }));
    child.on("close", (code, signal) => resolve({ status: code ?? signal, output }));
  });
}

/** Runs vitest on the paths. Returns true if all tests pass. */
export function runVitest(paths, env, ...options) {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const { status } = spawnSync(process.execPath, [vitest, "run", ...options, ...paths], {
    stdio: "inherit",
    cwd: root,
    env: { ...process.env, ...env },
  });
  return status === 0;
}

let reports = 0;

/** Writes counts for scripts/test-totals.mjs, with the keys of vitest's JSON reports, if HEDDLE_TEST_REPORT names a folder. */
export function report({ numPassedTests, numFailedTests }) {
  const folder = process.env.HEDDLE_TEST_REPORT;
  if (!folder) return;
  const content = { numPassedTests, numFailedTests, numPendingTests: 0, numTodoTests: 0 };
  reports += 1;
  writeFileSync(join(folder, `native-${process.pid}-${reports}.json`), JSON.stringify(content));
}

/** Returns the existing paths among `asked`, or among `defaults` if none was asked for. Exits if none exists. */
export function testPaths(asked, defaults) {
  const paths = (asked.length ? asked : defaults).filter((path) => existsSync(join(root, path)));
  if (paths.length > 0) return paths;
  console.error(`none of these paths exists: ${(asked.length ? asked : defaults).join(", ")}`);
  return process.exit(1);
}
