// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer in .cmake/asan, and runs tests on it and on the native core: the
// programs of test/native, and the fuzz targets on their corpora (npm run test:fuzz looks for new inputs).
//
//   npm run test:asan [-- PATH ...]    (the op cases, graph, hostile files and tokenizer when no path is given)
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";
import {
  buildWithTests,
  cpuInfo,
  root,
  runNativeTests,
  runPrograms,
  runVitest,
  testPaths,
  withSetsBelow,
} from "./testing.mjs";

const paths = testPaths(process.argv.slice(2), [
  "test/ops",
  "test/graph",
  "test/formats",
  "test/tokenizer",
  "test/binding/binding.test.ts",
]);

// Node itself is not instrumented, so the sanitizer's runtime must be loaded before the addon (LD_PRELOAD).
function runtime() {
  const compiler = process.env.CXX ?? "c++";
  for (const name of ["libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan-aarch64.so"]) {
    const path = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: "utf8" }).stdout?.trim();
    if (path && isAbsolute(path) && existsSync(path)) return path;
  }
  console.error(`test:asan: ${compiler} has no shared AddressSanitizer runtime: install gcc's libasan.`);
  return process.exit(1);
}

// Detection of use after return is off. It puts stack frames on the heap with an alignment of 32 bytes, and AVX-512 vectors need 64.
const common = `detect_stack_use_after_return=0:${process.env.ASAN_OPTIONS ?? ""}`;
const folder = join(root, ".cmake", "asan");
// Compile only the portable set, and the set in use (HEDDLE_ISA, or the processor's default) with those below it. Other sets take minutes
// and would not run.
const { isa = "all" } = cpuInfo(join(root, "build", "Release"), process.env.HEDDLE_ISA) ?? {};
buildWithTests("--asan", "-D", `HEDDLE_ISAS=${withSetsBelow(isa).join(";")}`);
const options = {
  // Leak detection is off, because V8 frees little at exit and every run would report thousands of its leaks.
  ASAN_OPTIONS: `detect_leaks=0:${common}`,
  UBSAN_OPTIONS: `print_stacktrace=1:${process.env.UBSAN_OPTIONS ?? ""}`,
};
// The native programs do not contain V8, so every leak counts.
const alone = { ...options, ASAN_OPTIONS: `detect_leaks=1:allocator_may_return_null=1:${common}` };
const native = await runNativeTests(folder, alone);
const targets = readdirSync(join(root, "test", "fuzz")).filter((name) => name.endsWith(".cc"));
const replayed = await runPrograms(
  targets.map((file) => {
    const name = basename(file, ".cc");
    const corpus = join(root, "test", "fuzz", "corpus", `${name}.txt`);
    return [`inputs of test/fuzz/${file}`, [join(folder, `replay_${name}`), corpus]];
  }),
  alone,
);
// See test/ops/suite.ts for the checks that op cases skip under sanitizers.
const addon = { ...options, HEDDLE_SANITIZED: "1", HEDDLE_BINARY: join(folder, "heddle.node"), LD_PRELOAD: runtime() };
const typescript = runVitest(paths, addon, "--testTimeout=600000");
process.exit(native && replayed && typescript ? 0 : 1);
