// Builds the binaries of other platforms and tries them: npm run test:platforms [-- [--sample] [--no-cuda] [--built] [TARGET ...]]
//
// Without a target, all are built. --sample is the quickest part: Windows, which nothing else compiles, with the baseline kernels. --built takes
// the binaries that are in prebuilds/. Needs linux-x64, Debian, and root for the systems that binaries are run on.
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildTarget } from "./platforms/build.mjs";
import { findTarget, root, targets } from "./platforms/targets.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: "boolean", default: false },
    "no-cuda": { type: "boolean", default: false },
    built: { type: "boolean", default: false },
  },
});
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
