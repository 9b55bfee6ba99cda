// A folder in which heddle is installed with the packages of several platforms, as npm would on each of them.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makePackage } from "../../../scripts/platforms/packages.mjs";
import { findTarget } from "../../../scripts/platforms/targets.mjs";
import { npm, root } from "../tools.ts";

/** The targets under test: those that HEDDLE_PLATFORMS names, or else all. Their binaries must be in prebuilds/. */
export const asked = (all: readonly string[]): string[] =>
  process.env.HEDDLE_PLATFORMS?.split(",").filter(Boolean) ?? [...all];

/** Variables that select the checkout's own build, for a system whose package is not under test. */
export const ownAddon = { HEDDLE_BINARY: join(root, "build", "Release", "heddle.node") };

/** Makes the folder from dist/ and prebuilds/. */
export function makeConsumer(targets: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-platforms-"));
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }));
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder);
  const installed = join(folder, "node_modules", "heddle");
  for (const path of ["package.json", "dist", "models/default"])
    cpSync(join(root, path), join(installed, path), { recursive: true });
  const packages = join(folder, "packages");
  mkdirSync(join(folder, "node_modules", "@heddle"), { recursive: true });
  for (const name of targets) {
    const made = makePackage(findTarget(name), packages);
    cpSync(made, join(folder, "node_modules", "@heddle", name), { recursive: true });
  }
  rmSync(packages, { recursive: true, force: true });
  for (const script of ["trial.mjs", "files.mjs"])
    cpSync(join(root, "test", "packaging", "platforms", script), join(folder, script));
  return folder;
}
