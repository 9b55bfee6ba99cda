import * as fs from "node:fs";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { addonPath } from "../../lib/binding/load.ts";
import { currentPlatform, libcOf, PLATFORMS, platformName, prebuildPath } from "../../lib/binding/platform-package.ts";
import { binaryPath, targets } from "../../scripts/platforms/targets.mjs";

interface Target {
  name: string;
  os: string;
  cpu: string;
  libc?: "glibc" | "musl";
}
const rows: Target[] = targets;

test("the loader looks for the packages that the scripts make", () => {
  expect(PLATFORMS).toEqual(rows.map(({ name }) => name));
  for (const row of rows) {
    const platform = { platform: row.os, arch: row.cpu, libc: row.libc };
    expect(platformName(platform)).toBe(row.name);
    expect(prebuildPath(platform)).toBe(binaryPath(row));
  }
});

test("libcOf recognizes glibc and musl by the dynamic loader that a program names", () => {
  const program = (loader: string) => Buffer.from(`\x7fELF\x02\x01\x01\0\0\0${loader}\0GNU`);
  expect(libcOf(program("/lib/ld-musl-x86_64.so.1"))).toBe("musl");
  expect(libcOf(program("/lib64/ld-linux-x86-64.so.2"))).toBe("glibc");
  expect(libcOf(program("/nix/store/abc-glibc-2.40/lib/ld-linux-aarch64.so.1"))).toBe("glibc");
  expect(libcOf(program(""))).toBeUndefined();
});

test.runIf(process.platform === "linux")("currentPlatform has the C library that Node's report names", () => {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  expect(currentPlatform(fs).libc).toBe(header.glibcVersionRuntime ? "glibc" : "musl");
});

describe("the addon of an installed package", () => {
  const here = currentPlatform(fs);
  const packageOf = `@heddle/${platformName(here)}`;
  let folder: string;
  let root: string;

  const place = (...path: string[]) => {
    const file = join(...path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, "");
    return file;
  };

  beforeEach(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "heddle-packages-")));
    root = join(folder, "node_modules", "heddle");
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, "package.json"), JSON.stringify({ name: "heddle", version: "1.2.3" }));
    vi.stubEnv("HEDDLE_BINARY", undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    { found: "a build", places: ["build", "package", "prebuild"] },
    { found: "the platform's package", places: ["package", "prebuild"] },
    { found: "a prebuild", places: ["prebuild"] },
  ])("is taken from $found, if these exist: $places", ({ places }) => {
    const paths: Record<string, () => string> = {
      build: () => place(root, "build/Release/heddle.node"),
      package: () => place(folder, "node_modules", packageOf, prebuildPath(here)),
      prebuild: () => place(root, prebuildPath(here)),
    };
    const [first] = places.map((name) => paths[name]!());
    expect(addonPath(root)).toBe(first);
  });

  test("is the file that HEDDLE_BINARY names", () => {
    place(root, "build/Release/heddle.node");
    vi.stubEnv("HEDDLE_BINARY", "/other/heddle.node");
    expect(addonPath(root)).toBe("/other/heddle.node");
  });

  test("is in the nested package, if two versions are installed", () => {
    place(folder, "node_modules", packageOf, prebuildPath(here));
    const nested = place(root, "node_modules", packageOf, prebuildPath(here));
    expect(addonPath(root)).toBe(nested);
  });

  test("is found next to heddle in a package manager's store", () => {
    const store = join(folder, "store", "node_modules");
    cpSync(root, join(store, "heddle"), { recursive: true });
    const packaged = place(store, packageOf, prebuildPath(here));
    expect(addonPath(join(store, "heddle"))).toBe(packaged);
  });

  test("is missing on a known platform: the error names its package", () => {
    const message = `heddle: no native addon for ${platformName(here)} with Node ${process.versions.node}: the optional package ${packageOf} is not installed: run \`npm install ${packageOf}@1.2.3\``;
    expect(() => addonPath(root)).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringContaining(message) }),
    );
  });

  test("is missing on another platform: the error lists those with packages", () => {
    vi.spyOn(process, "platform", "get").mockReturnValue("freebsd");
    expect(() => addonPath(root)).toThrow(
      expect.objectContaining({
        code: "UNSUPPORTED",
        message: expect.stringMatching(
          new RegExp(
            `^heddle: no native addon for freebsd-${process.arch} .*: there are packages for ${PLATFORMS.join(", ")}; to build one, .*$`,
          ),
        ),
      }),
    );
  });

  test("is not looked for in the folder of another package: the error says to mark heddle as external", () => {
    writeFileSync(join(root, "package.json"), JSON.stringify({ name: "an-app", version: "1.0.0" }));
    expect(() => addonPath(root)).toThrow(/mark heddle as external/);
  });
});
