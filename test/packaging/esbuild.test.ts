// Programs that esbuild bundles: heddle must stay external, and a bundle that includes it reports the missing option.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installCheckout, installPackages } from "./installed.ts";

let folder: string;
let app: string;
let esbuild: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-esbuild-"));
  app = join(folder, "app");
  installCheckout(app);
  const modules = installPackages(join(folder, "tools"), { esbuild: "0.28.2" });
  esbuild = join(modules, "@esbuild", `${process.platform}-${process.arch}`, "bin", "esbuild");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bundles a program of the consumer, and runs the bundle. */
function bundle(program: string, ...options: string[]) {
  const out = program.replace("generate", "bundle");
  const built = spawnSync(esbuild, [program, "--bundle", "--platform=node", `--outfile=${out}`, ...options], {
    cwd: app,
    encoding: "utf8",
  });
  expect(built.status, built.stderr).toBe(0);
  return spawnSync(process.execPath, [out], { cwd: app, encoding: "utf8" });
}

test.each([
  ["generate.mjs", "esm"],
  ["generate.cjs", "cjs"],
])("a bundle of %s generates with --external:heddle", (program, format) => {
  const { status, stdout, stderr } = bundle(program, `--format=${format}`, "--external:heddle");
  expect(status, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ text: expect.stringMatching(/^ Paris/), typedError: true });
});

test.each([
  ["generate.mjs", "esm"],
  ["generate.cjs", "cjs"],
])("a bundle of %s that includes heddle reports the missing option", (program, format) => {
  const { status, stderr } = bundle(program, `--format=${format}`);
  expect(status).toBe(1);
  expect(stderr).toMatch(/heddle: expected to run from its own package folder, .*esbuild: --external:heddle;/);
});
