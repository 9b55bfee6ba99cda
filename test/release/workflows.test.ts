// GitHub's workflows cannot run here. A validator checks their syntax, and these tests check permissions, versions, scripts and limits.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// The package has one module for bundlers and another one for Node. Its types describe the first.
const { validateWorkflow } = createRequire(import.meta.url)("@action-validator/core") as {
  validateWorkflow: (source: string) => { errors: object[] };
};

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, ".github", "workflows");
const workflows = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")] as const);
const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };

test("the validator finds unknown keys and jobs", () => {
  const step = "steps: [{ runn: make }]";
  expect(validateWorkflow(`on: push\njobs: { a: { runs-on: x, ${step} } }`).errors).not.toEqual([]);
  expect(
    validateWorkflow("on: push\njobs: { a: { needs: b, runs-on: x, steps: [{ run: make }] } }").errors,
  ).not.toEqual([]);
});

test("there are workflows for checks, binaries, releases and benchmarks", () => {
  expect(workflows.map(([name]) => name).sort()).toEqual(["ci.yml", "gpu-bench.yml", "prebuild.yml", "release.yml"]);
});

test.each(workflows)("%s is valid", (_, text) => {
  expect(validateWorkflow(text).errors).toEqual([]);
});

test.each(workflows)("%s grants only read access to the repository by default", (_, text) => {
  expect(text).toMatch(/^permissions:\n {2}contents: read$/m);
});

test.each(workflows)("%s pins actions to a major version", (_, text) => {
  const actions = [...text.matchAll(/uses: (\S+)/g)].map(([, action]) => action);
  expect(actions).not.toEqual([]);
  for (const action of actions) expect(action).toMatch(/^\.\/|^[\w-]+\/[\w-]+@v\d+$/);
});

test("workflows run npm scripts and files that exist", () => {
  const all = workflows.map(([, text]) => text).join("\n");
  const found = (pattern: RegExp) => [...all.matchAll(pattern)].map(([, name]) => name!);
  const [npm, files] = [found(/npm run ([\w:-]+)/g), found(/(?<![\w/])((?:scripts|\.ci|test)\/[\w./-]+)/g)];
  for (const names of [npm, files]) expect(names).not.toEqual([]);
  expect(npm.filter((name) => !(name in scripts))).toEqual([]);
  expect(files.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});

test.each(workflows)("%s limits the time of every job that has a runner", (_, text) => {
  expect(text.match(/^ {4}timeout-minutes:/gm)).toHaveLength(text.match(/^ {4}runs-on:/gm)!.length);
});

test("benchmarks of a GPU fail at once without nvcc, and ignore the choices of an earlier autotune", () => {
  const text = readFileSync(join(folder, "gpu-bench.yml"), "utf8");
  expect(text).toMatch(/^ {2}HEDDLE_TUNING: "off"$/m);
  const script = /name: CUDA compiler\n {8}run: \|\n((?: {10}.*\n)+)/.exec(text)![1]!;
  const statusOf = (device: string) => {
    const env = { DEVICE: device, PATH: "/nonexistent", GITHUB_PATH: "/dev/null" };
    return spawnSync("/bin/bash", ["-e", "-c", script.replaceAll("/usr/local/cuda", "/nonexistent")], { env }).status;
  };
  expect(statusOf("cpu")).toBe(0);
  expect(statusOf("cuda")).toBe(127);
});
