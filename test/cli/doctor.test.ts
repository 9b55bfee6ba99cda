// `heddle doctor`, and the error of a bundle that includes heddle.
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { node } from "../process/helpers.ts";
import { bin, runCli } from "./run.ts";

const folder = await mkdtemp(join(tmpdir(), "heddle-doctor-"));
afterEach(() => void vi.unstubAllEnvs());
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("doctor reports that heddle can run on this machine, with its addon, instruction set and driver", async () => {
  const { code, stdout, stderr } = await runCli(["doctor", "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const found = JSON.parse(stdout);
  expect(found).toMatchObject({ node: process.versions.node, platform: `${process.platform}-${process.arch}` });
  expect(found.addon.path).toMatch(/heddle\.node$/);
  expect(found.instructionSet).toMatch(/^[a-z0-9]+$/);
  const screen = (await runCli(["doctor"])).stdout;
  expect(screen).toMatch(/\nheddle can run on this machine\.\n$/);
  expect(screen).toMatch(/^ *driver +(NVIDIA [\d.]+|no NVIDIA driver)$/m);
  expect(screen.split("\n").length).toBeLessThan(24);
});

test.runIf(process.platform === "linux")(
  "doctor reports the system's C library and the one that the addon needs",
  async () => {
    const { libc, addon } = JSON.parse((await runCli(["doctor", "--json"])).stdout);
    expect(libc).toMatch(/^(glibc 2\.\d+|musl)$/);
    expect(addon.needs.libc).toBe(libc.split(" ")[0]);
    expect((await runCli(["doctor"])).stdout).toMatch(/^ *needs +(glibc 2\.[\d.]+|musl)/m);
  },
);

test.runIf(process.platform === "linux")("doctor recognizes an addon for another C library", async () => {
  const path = join(folder, "other.node");
  const glibc = JSON.parse((await runCli(["doctor", "--json"])).stdout).libc !== "musl";
  await writeFile(path, `\x7fELF\0\0${glibc ? "libc.musl-x86_64.so.1" : "GLIBC_2.28"}\0`, "latin1");
  vi.stubEnv("HEDDLE_BINARY", path);
  const { code, stdout } = await runCli(["doctor"]);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^ *to do +the addon was built for (glibc|musl), and this system has (musl|glibc): /m);
});

test("doctor names a missing addon", async () => {
  vi.stubEnv("HEDDLE_BINARY", join(folder, "none.node"));
  const { code, stdout } = await runCli(["doctor"]);
  expect(code).toBe(1);
  expect(stdout).toMatch(/problem +.*none\.node: expected the native addon, found no file\n/);
  expect(stdout).toMatch(/to do +install a C\+\+17 compiler/);
  expect(stdout).toMatch(/\nheddle cannot run on this machine\.\n$/);
});

test("doctor names an addon that does not load, and advises to rebuild it", async () => {
  const path = join(folder, "text.node");
  await writeFile(path, "this is a text");
  vi.stubEnv("HEDDLE_BINARY", path);
  const { code, stdout } = await runCli(["doctor", "--json"]);
  expect(code).toBe(1);
  const { addon, problem, advice } = JSON.parse(stdout);
  expect(addon.path).toBe(path);
  // The text of the system's loader differs between platforms.
  expect(problem).toMatch(/text\.node(: \S.*| is not a valid Win32 application)/);
  expect(advice).toContain("npm rebuild heddle --build-from-source");
});

test("the error of a bundle that includes heddle explains how to mark heddle as external", async () => {
  await cp(dirname(dirname(bin)), join(folder, "app", "out"), { recursive: true });
  await writeFile(join(folder, "app", "package.json"), '{ "name": "app", "type": "module" }');
  const entry = pathToFileURL(join(folder, "app", "out", "tokenizer", "index.js")).href;
  const { stdout } = await node([
    "--input-type=module",
    "-e",
    `await import("${entry}").catch((e) => console.log(e.code, e.message));`,
  ]);
  expect(stdout).toMatch(/^UNSUPPORTED heddle: .*mark heddle as external \(esbuild: --external:heddle; /);
});
