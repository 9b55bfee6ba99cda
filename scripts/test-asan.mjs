// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer in .cmake/asan and runs tests on it.
//
//   npm run test:asan [-- PATH ...]    (the op cases, graph, hostile files and tokenizer when no path is given)
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { buildWithTests, cpuInfo, exchanges, root, runNativeTests, runVitest, testPaths } from "./testing.mjs";

const paths = testPaths(process.argv.slice(2), [
  "test/ops",
  "test/graph",
  "test/formats",
  "test/tokenizer",
  "test/binding.test.ts",
]);

// Node itself is not instrumented, so the sanitizer's runtime has to be there before the addon is.
function runtime() {
  const compiler = process.env.CXX ?? "c++";
  for (const name of ["libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan-aarch64.so"]) {
    const path = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: "utf8" }).stdout?.trim();
    if (path && isAbsolute(path) && existsSync(path)) return path;
  }
  console.error(`test:asan: ${compiler} has no shared AddressSanitizer runtime: install gcc's libasan.`);
  return process.exit(1);
}

// Frames on the heap, which find uses after a return, are aligned to 32 bytes there: too little for the vectors of AVX-512.
const common = `detect_stack_use_after_return=0:${process.env.ASAN_OPTIONS ?? ""}`;
const folder = join(root, ".cmake", "asan");
// Other sets than the portable one and the one in use (HEDDLE_ISA's, or the processor's own) would only be compiled, which takes minutes.
const { isa = "all" } = cpuInfo(join(root, "build", "Release"), process.env.HEDDLE_ISA) ?? {};
buildWithTests("--asan", "-D", `HEDDLE_ISAS=${[isa, exchanges[isa]?.of ?? []].flat().join(";")}`);
const options = {
  // Leaks: V8 frees little at exit, so every run would report thousands that are not ours.
  ASAN_OPTIONS: `detect_leaks=0:${common}`,
  UBSAN_OPTIONS: `print_stacktrace=1:${process.env.UBSAN_OPTIONS ?? ""}`,
};
// The native programs have no V8 in them: there every leak counts.
const native = await runNativeTests(folder, { ...options, ASAN_OPTIONS: `detect_leaks=1:${common}` });
// See test/ops/suite.ts for the checks that op cases skip under sanitizers.
const addon = { ...options, HEDDLE_SANITIZED: "1", HEDDLE_BINARY: join(folder, "heddle.node"), LD_PRELOAD: runtime() };
const typescript = runVitest(paths, addon, "--testTimeout=600000");
process.exit(native && typescript ? 0 : 1);
