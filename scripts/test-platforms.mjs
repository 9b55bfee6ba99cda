// Builds the binaries of other platforms and tries them: npm run test:platforms [-- [--compile | --sample] [--no-cuda] [--built] [TARGET ...]]
//
// Without a target, all are built. --compile is for .ci/run: it only compiles files that depend on the system. --sample builds and tests
// Windows, with the baseline kernels. --built uses the binaries already in prebuilds/. Needs linux-x64, Debian, and root to set up the systems
// on which the binaries run.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildTarget } from "./platforms/build.mjs";
import { compiledTargets, compilePlatformLayers } from "./platforms/compile.mjs";
import { findTarget, root, targets } from "./platforms/targets.mjs";
import { report } from "./testing.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    compile: { type: "boolean", default: false },
    sample: { type: "boolean", default: false },
    "no-cuda": { type: "boolean", default: false },
    built: { type: "boolean", default: false },
  },
});

if (values.compile) {
  const rows = await compilePlatformLayers(positionals.length > 0 ? positionals : compiledTargets);
  const failed = rows.filter(({ problem }) => problem);
  for (const { target, path, problem } of failed) console.error(`FAILED ${target} ${path}\n${problem}`);
  for (const name of new Set(rows.map(({ target }) => target))) {
    const own = rows.filter(({ target }) => target === name);
    console.log(`${name}: ${own.filter(({ problem }) => !problem).length} of ${own.length} files compile`);
  }
  report({ numPassedTests: rows.length - failed.length, numFailedTests: failed.length });
  process.exit(failed.length > 0 ? 1 : 0);
}

const sample = ["win32-x64"];
const names = values.sample ? sample : positionals.length > 0 ? positionals : targets.map(({ name }) => name);

if (!values.built)
  for (const target of names.map(findTarget))
    buildTarget(target, {
      cuda: !values["no-cuda"],
      define: values.sample ? ["HEDDLE_ISAS=baseline"] : [],
      jobs: availableParallelism(),
    });
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const config = join("test", "packaging", "platforms", "vitest.config.ts");
const { status } = spawnSync(process.execPath, [vitest, "run", "--config", config], {
  stdio: "inherit",
  cwd: root,
  env: {
    ...process.env,
    HEDDLE_PLATFORMS: names.join(","),
    ...(values.sample && { HEDDLE_PLATFORMS_ISA: "baseline" }),
  },
});
process.exit(status ?? 1);
