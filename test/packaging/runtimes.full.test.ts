// Bun and Deno run the programs that Node runs.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { installCheckout, installPackages } from "./installed.ts";

const { platform, arch } = process;
const system = platform === "win32" ? "windows" : platform;
const runtimes = [
  {
    name: "Bun",
    // The executable is in one of the platform packages on which the package `bun` depends.
    packages: { [`@oven/bun-${system}-${arch === "arm64" ? "aarch64" : arch}`]: "1.4.5" },
    file: ["bin", "bun"],
    args: [] as string[],
  },
  {
    name: "Deno",
    packages: { [`@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`]: "2.9.6" },
    file: ["deno"],
    args: ["run", "--allow-all"],
  },
];

let folder: string;
let app: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-runtimes-"));
  app = join(folder, "app");
  installCheckout(app);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(runtimes)("$name", ({ name, packages, file, args }) => {
  let program: string;
  beforeAll(() => {
    const modules = installPackages(join(folder, name), packages);
    program = join(modules, Object.keys(packages)[0]!, ...file);
    chmodSync(program, 0o755);
  });

  test.each(["generate.mjs", "generate.cjs", "both.mjs", "worker.mjs"])("runs %s", (script) => {
    const { status, stdout, stderr } = spawnSync(program, [...args, script], { cwd: app, encoding: "utf8" });
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout).typedError).toBe(true);
  });

  test("runs the command line", () => {
    const cli = join("node_modules", "heddle", "dist", "cli", "main.js");
    const prompt = ["generate", "The capital of France is", "--max-tokens", "6", "--temperature", "0", "--json"];
    const { status, stdout, stderr } = spawnSync(program, [...args, cli, ...prompt], { cwd: app, encoding: "utf8" });
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!).text).toMatch(/^ Paris/);
  });
});
