// Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer in .cmake/asan and runs tests on it.
//
//   npm run test:asan [-- PATH ...]    (the op cases, the graph and the hostile files when no path is given)
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const defaults = ["test/ops", "test/graph", "test/formats", "test/tokenizer", "test/binding.test.ts"];

function fail(message) {
  console.error(`test:asan: ${message}`);
  process.exit(1);
}

// Node itself is not instrumented, so the sanitizer's runtime has to be there before the addon is.
function runtime() {
  const compiler = process.env.CXX ?? "c++";
  for (const name of ["libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan-aarch64.so"]) {
    const path = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: "utf8" }).stdout?.trim();
    if (path && isAbsolute(path) && existsSync(path)) return path;
  }
  return fail(`${compiler} has no shared AddressSanitizer runtime: install gcc's libasan.`);
}

const build = spawnSync(process.execPath, [join(root, "scripts", "build-addon.mjs"), "--asan"], { stdio: "inherit" });
if (build.status !== 0) fail("the sanitizer build failed; see the lines above.");

const asked = process.argv.slice(2);
const paths = (asked.length ? asked : defaults).filter((path) => existsSync(join(root, path)));
if (paths.length === 0) fail(`none of these exists: ${asked.join(", ")}`);
const { status } = spawnSync(
  process.execPath,
  [join(root, "node_modules", "vitest", "vitest.mjs"), "run", "--testTimeout=600000", ...paths],
  {
    stdio: "inherit",
    cwd: root,
    env: {
      ...process.env,
      HEDDLE_BINARY: join(root, ".cmake", "asan", "heddle.node"),
      LD_PRELOAD: runtime(),
      // Leaks: V8 frees little at exit, so every run would report thousands that are not ours.
      ASAN_OPTIONS: `detect_leaks=0:${process.env.ASAN_OPTIONS ?? ""}`,
      UBSAN_OPTIONS: `print_stacktrace=1:${process.env.UBSAN_OPTIONS ?? ""}`,
    },
  },
);
process.exit(status ?? 1);
