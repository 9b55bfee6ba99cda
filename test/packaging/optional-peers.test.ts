// Without the optional packages heddle works, and a feature that needs a missing package names it. With them the features work.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { installCheckout, installPackages } from "./installed.ts";
import { root } from "./tools.ts";

const { peerDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const peers = Object.keys(peerDependencies);
/** The packages that prom-client depends on. */
const more = ["tdigest", "bintrees"];
const entries = ["heddle", "heddle/graph", "heddle/serve", "heddle/tokenizer"];

let folder: string;
let app: string;
let esbuild: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-peers-"));
  app = join(folder, "app");
  installCheckout(app);
  const modules = installPackages(join(folder, "tools"), { esbuild: "0.28.2" });
  esbuild = join(modules, "@esbuild", `${process.platform}-${process.arch}`, "bin", "esbuild");
  const options = ["--bundle", "--platform=node", "--format=esm", "--external:heddle", "--outfile=bundle.mjs"];
  const built = spawnSync(esbuild, ["peers.mjs", ...options], { cwd: app, encoding: "utf8" });
  expect(built.status, built.stderr).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs node with a program of the consumer, and returns what it prints. consumer/peers.mjs describes what it prints as JSON. */
function node(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: app, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}
const cli = (...args: string[]) => node(join("node_modules", "heddle", "dist", "cli", "main.js"), ...args);

describe("without the optional packages", () => {
  test("npm installs no optional package", () => {
    const script = `for (const name of ${JSON.stringify(peers)}) try { require.resolve(name); console.log(name) } catch {}`;
    expect(node("-e", script)).toBe("");
  });

  test.each(["peers.mjs", "bundle.mjs"])(
    "heddle loads, and metrics and heddle/ai-sdk name the missing package: %s",
    (file) => {
      const { loaded, sdk, esm, common } = JSON.parse(node(file));
      for (const message of sdk) expect(message).toMatch(/^Cannot find \w+ '@ai-sdk\/provider'/);
      expect(loaded).toEqual(entries);
      for (const used of [esm, common]) {
        expect(used).toMatchObject({ answer: 200, metrics: 501 });
        expect(used.text).toContain("npm install prom-client");
      }
    },
  );

  test("the command line generates text", () => {
    const args = ["generate", "The capital of France is", "--max-tokens", "4", "--temperature", "0"];
    expect(cli(...args)).toContain("Paris");
  });
});

describe("with the optional packages", () => {
  beforeAll(() => {
    for (const name of [...peers, ...more])
      cpSync(join(root, "node_modules", name), join(app, "node_modules", name), { recursive: true });
  });

  test.each(["peers.mjs", "bundle.mjs"])("/metrics has Prometheus's format, and heddle/ai-sdk loads: %s", (file) => {
    const { loaded, sdk, esm, common } = JSON.parse(node(file));
    expect(loaded).toEqual(entries);
    for (const names of sdk) expect(names).toContain("heddle");
    for (const used of [esm, common]) {
      expect(used).toMatchObject({ answer: 200, metrics: 200 });
      expect(used.text).toMatch(/^# HELP /);
    }
  });

  test("the command line generates text", () => {
    const args = ["generate", "The capital of France is", "--max-tokens", "4", "--temperature", "0"];
    expect(cli(...args)).toContain("Paris");
  });
});
