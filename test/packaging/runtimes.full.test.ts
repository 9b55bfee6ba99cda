// Bun and Deno run the programs that Node runs.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../helpers/free-port.ts";
import { asked } from "./http.ts";
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
    /** Returns the arguments that serve a module's default export at a port. Bun needs none, and reads the port from PORT. */
    serve: (_: number) => [] as string[],
  },
  {
    name: "Deno",
    packages: { [`@deno/${platform}-${arch}${platform === "linux" ? "-glibc" : ""}`]: "2.9.6" },
    file: ["deno"],
    args: ["run", "--allow-all"],
    serve: (port: number) => ["serve", "--allow-all", "--host", "127.0.0.1", "--port", `${port}`],
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

describe.each(runtimes)("$name", ({ name, packages, file, args, serve }) => {
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

  test("serves a fetch handler", async () => {
    const port = await freePort();
    const env = { ...process.env, PORT: `${port}` };
    const server = spawn(program, [...serve(port), "fetch-server.mjs"], { cwd: app, env, stdio: "pipe" });
    const closed = new Promise((resolve) => server.on("close", resolve));
    let log = "";
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (log += text));
    try {
      const { completion, streamed, last, models } = await asked(`http://127.0.0.1:${port}`, () => log);
      expect(models.status, log).toBe(200);
      expect(completion.choices[0]!.text).toMatch(/^ Paris/);
      expect([streamed, last]).toEqual([completion.choices[0]!.text, "[DONE]"]);
    } finally {
      server.kill();
      await closed;
    }
  });

  test("runs the command line", () => {
    const cli = join("node_modules", "heddle", "dist", "cli", "main.js");
    const prompt = ["generate", "The capital of France is", "--max-tokens", "6", "--temperature", "0", "--json"];
    const { status, stdout, stderr } = spawnSync(program, [...args, cli, ...prompt], { cwd: app, encoding: "utf8" });
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!).text).toMatch(/^ Paris/);
  });
});
