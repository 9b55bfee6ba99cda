// Builds every test/fuzz/*.cc with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer in .cmake/fuzz, and runs each from its corpus:
// test/fuzz/corpus/NAME.txt, which has one input per line in base64. If an input makes a target fail, prints and keeps the input, and exits
// with 1.
//
//   npm run test:fuzz [-- --seconds N] [--kernels] [--merge] [NAME ...]
//
// --kernels also fuzzes the CPU kernels of the ops (minutes of compiling). --merge adds a minimal set of inputs that reached new code to
// the corpora.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { buildAddon, report, root } from "./testing.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "4" },
    kernels: { type: "boolean", default: false },
    merge: { type: "boolean", default: false },
  },
});
const seconds = Number(values.seconds);
if (!(Number.isInteger(seconds) && seconds > 0))
  stop(`--seconds: expected a whole number from 1, got ${values.seconds}`);
const all = readdirSync(join(root, "test", "fuzz")).filter((name) => name.endsWith(".cc"));
const names = all
  .map((name) => basename(name, ".cc"))
  .filter((name) => !positionals.length || positionals.includes(name));
if (names.length === 0)
  stop(`expected one of ${all.map((name) => basename(name, ".cc")).join(", ")}, got ${positionals.join(", ")}`);

function stop(message) {
  console.error(`test:fuzz: ${message}`);
  process.exit(2);
}

/** Returns a Clang that links libFuzzer: HEDDLE_CLANG, otherwise the newest clang++-N, otherwise clang++. */
function clang() {
  const versions = Array.from({ length: 12 }, (_, i) => `clang++-${25 - i}`);
  const source = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }';
  for (const compiler of [process.env.HEDDLE_CLANG, ...versions, "clang++"]) {
    if (!compiler) continue;
    const options = ["-fsanitize=fuzzer,address,undefined", "-x", "c++", "-", "-o", "/dev/null"];
    if (spawnSync(compiler, options, { input: source, stdio: ["pipe", "ignore", "ignore"] }).status === 0)
      return compiler;
  }
  return stop("expected a Clang with libFuzzer: install clang and its libclang-rt-dev, or name one in HEDDLE_CLANG");
}

const folder = join(root, ".cmake", values.kernels ? "fuzz-kernels" : "fuzz");
const started = Date.now();
const options = ["HEDDLE_FUZZ=ON", `HEDDLE_FUZZ_KERNELS=${values.kernels ? "ON" : "OFF"}`, "HEDDLE_CUDA=OFF"];
buildAddon(
  ...["--build-dir", folder, "--target", "fuzz", "-D", `CMAKE_CXX_COMPILER=${clang()}`],
  ...options.flatMap((option) => ["-D", option]),
);
console.log(`built in ${Math.round((Date.now() - started) / 1000)} s; each target runs for ${seconds} s`);

const crashes = join(folder, "crashes");
mkdirSync(crashes, { recursive: true });
const env = {
  ...process.env,
  ASAN_OPTIONS: `allocator_may_return_null=1:${process.env.ASAN_OPTIONS ?? ""}`,
  UBSAN_OPTIONS: `print_stacktrace=1:${process.env.UBSAN_OPTIONS ?? ""}`,
};

const packed = (name) => join(root, "test", "fuzz", "corpus", `${name}.txt`);

/** Writes a target's inputs to a folder, one file per input, as libFuzzer reads them. */
function unpack(name) {
  const corpus = join(folder, "corpus", name);
  rmSync(corpus, { recursive: true, force: true });
  mkdirSync(corpus, { recursive: true });
  const lines = existsSync(packed(name)) ? readFileSync(packed(name), "latin1").split("\n").slice(0, -1) : [];
  for (const [i, line] of lines.entries()) writeFileSync(join(corpus, String(i)), Buffer.from(line, "base64"));
  return corpus;
}

/** Runs one target. Resolves to true if no input made it fail. */
function run(name) {
  const found = join(folder, "found", name);
  mkdirSync(found, { recursive: true });
  const corpus = unpack(name);
  const artifact = join(crashes, `${name}-`);
  for (const old of readdirSync(crashes)) if (old.startsWith(`${name}-`)) rmSync(join(crashes, old));
  const limits = [`-max_total_time=${seconds}`, "-timeout=10", "-rss_limit_mb=2048", "-max_len=2048"];
  const args = [...limits, "-print_final_stats=1", `-artifact_prefix=${artifact}`, found, corpus];
  return new Promise((resolve) => {
    const child = spawn(join(folder, `fuzz_${name}`), args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output = (output + text).slice(-20_000);
      });
    }
    child.on("close", (code) => {
      const inputs = /number_of_executed_units:\s*(\d+)/.exec(output)?.[1] ?? "no";
      const covered = [...output.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? "no";
      console.log(`${code === 0 ? "ok    " : "FAILED"} ${name}: ${inputs} inputs, ${covered} edges`);
      if (code !== 0) explain(name, output);
      resolve(code === 0);
    });
  });
}

function explain(name, output) {
  console.log(output);
  for (const file of readdirSync(crashes).filter((file) => file.startsWith(`${name}-`))) {
    const path = join(crashes, file);
    console.log(`reproduce: ${join(folder, `fuzz_${name}`)} ${path}\nbase64: ${readFileSync(path).toString("base64")}`);
  }
}

/** Maximum number of inputs in the corpus of a target. */
const MAX_INPUTS = 60;

/**
 * Writes a minimal set of inputs with the same coverage to the corpus. If there are more than MAX_INPUTS, keeps the longest, because they cover
 * the most code.
 */
function merge(name) {
  const corpus = join(folder, "corpus", name);
  const args = ["-set_cover_merge=1", "-max_len=512", corpus, join(folder, "found", name)];
  spawnSync(join(folder, `fuzz_${name}`), args, { env, stdio: "ignore" });
  const inputs = readdirSync(corpus).map((file) => readFileSync(join(corpus, file)));
  inputs.sort((a, b) => b.length - a.length || a.compare(b));
  const kept = inputs.slice(0, MAX_INPUTS);
  writeFileSync(packed(name), kept.map((input) => `${input.toString("base64")}\n`).join(""));
  console.log(`${name}: ${kept.length} inputs`);
}

const waiting = [...names];
let passed = 0;
async function worker() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) if (await run(name)) passed++;
}
await Promise.all(Array.from({ length: Math.min(names.length, availableParallelism()) }, worker));
report({ numPassedTests: passed, numFailedTests: names.length - passed });
if (values.merge && passed === names.length) names.forEach(merge);
process.exit(passed === names.length ? 0 : 1);
