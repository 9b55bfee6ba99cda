// Compiles the native files that depend on the system, for each system, without linking. This takes a minute, and full builds take many.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "../testing.mjs";
import { findTarget, root } from "./targets.mjs";
import { installZig, zigEnvironment } from "./zig.mjs";

/** The targets cover each C library and each kind of processor, apart from Windows, which `--sample` builds whole. */
export const compiledTargets = ["linux-x64-musl", "linux-arm64-gnu", "darwin-arm64"];

const layer = "native/core/platform";
const folders = { Linux: ["linux", "posix"], Darwin: ["darwin", "posix"], Windows: ["windows"] };
const flags = ["-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-I", "native"];

/** Returns the sources of the platform layer for a system, as paths below the checkout. */
function layerOf(system) {
  return folders[system].flatMap((folder) =>
    readdirSync(join(root, layer, folder))
      .filter((name) => name.endsWith(".cc"))
      .map((name) => `${layer}/${folder}/${name}`),
  );
}

/**
 * Compiles the platform layer of each target. Returns one row for each file: its target, its path, and the compiler's output if it does not
 * compile.
 */
export async function compilePlatformLayers(names) {
  const zig = installZig();
  const out = mkdtempSync(join(tmpdir(), "heddle-platforms-"));
  const rows = names
    .map(findTarget)
    .flatMap((target) =>
      layerOf(target.system).map((path, i) => ({ target, path, object: join(out, target.name, `${i}.o`) })),
    );
  for (const name of names) mkdirSync(join(out, name));
  const left = [...rows];
  const worker = async () => {
    for (let row = left.shift(); row; row = left.shift()) {
      const command = [zig, "c++", "-target", row.target.zig, ...flags, "-c", join(root, row.path), "-o", row.object];
      const { status, output } = await finished(command, { ...process.env, ...zigEnvironment() }, { cwd: root });
      if (status !== 0) row.problem = output.trim() || `the compiler ended with ${status}`;
    }
  };
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, worker));
  } finally {
    rmSync(out, { recursive: true });
  }
  return rows.map(({ target, path, problem }) => ({ target: target.name, path, problem }));
}
