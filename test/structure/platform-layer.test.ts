// Only native/core/platform asks which operating system the code is compiled for.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const files = execFileSync("git", ["ls-files", "native"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => /\.(?:cc|h|cu|cuh)$/.test(file));

/** Files outside the platform layer. The emulator is left out, because it is a tool for tests on Linux. */
const elsewhere = files.filter((file) => !/^native\/(?:core\/platform|emulator)\//.test(file));

const macros = /\b(?:__linux__|__APPLE__|__unix__|_WIN32|_WIN64|__MINGW32__)\b/;
const headers =
  /#\s*include\s*<(?:sys\/\w+|unistd|fcntl|dlfcn|sched|signal|pthread|xlocale|windows|malloc|mach\/\w+)\.h>/;

describe("native code outside the platform layer", () => {
  test.each(elsewhere)("does not depend on the operating system: %s", (file) => {
    const text = readFileSync(join(root, file), "utf8");
    const lines = text.split("\n").filter((line) => macros.test(line) || headers.test(line));
    expect(lines).toEqual([]);
  });
});

test("each system defines the functions of the platform layer in files of the same names", () => {
  const of = (system: string) =>
    files
      .flatMap((file) => new RegExp(`^native/core/platform/${system}/(\\w+)\\.cc$`).exec(file)?.[1] ?? [])
      .filter((name) => !["control_groups", "api", "file_status"].includes(name)); // helpers that only some systems have
  // Linux and macOS share the folder posix, and each also has its own pages.cc.
  const posix = of("posix");
  const whole = (system: string) => [...new Set([...of(system), ...posix])].sort();
  expect(whole("darwin")).toEqual(whole("linux"));
  expect(of("windows").sort()).toEqual(whole("linux"));
});
