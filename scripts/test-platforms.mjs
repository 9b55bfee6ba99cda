// Builds the binaries of other platforms and tries them: npm run test:platforms [-- [--sample] [--no-cuda] [--built] [TARGET ...]]
//
// Without a target, all are built. --sample is for .ci/run: it compiles the files that depend on the system for some platforms, and then builds
// and tests Windows with the baseline kernels. --built uses the binaries already in prebuilds/. Needs linux-x64, Debian, and root to set up the
// systems on which the binaries run.
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
    sample: { type: "boolean", default: false },
    "no-cuda": { type: "boolean", default: false },
    built: { type: "boolean", default: false },
  },
});

const sample = ["win32-x64"];

/** Compiles the system-dependent files of platforms and reports the counts. Returns whether all compile. */
async function compile(names) {
  const rows = await compilePlatformLayers(names);
  const failed = rows.filter(({ problem }) => problem);
  for (const { target, path, problem } of failed) console.error(`FAILED ${target} ${path}\n${problem}`);
  for (const name of names) {
    const own = rows.filter(({ target }) => target === name);
    console.log(`${name}: ${own.filter(({ problem }) => !problem).length} of ${own.length} files compile`);
  }
  report({ numPassedTests: rows.length - failed.length, numFailedTests: failed.length });
  return failed.length === 0;
}

const compiles = !values.sample || (await compile(compiledTargets));
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
process.exit(compiles ? (status ?? 1) : 1);
