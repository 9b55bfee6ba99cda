import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { addonPath } from "../../../lib/binding/load.ts";
import { binaryNeeds, compareVersions } from "../../../lib/cli/machine/binary-needs.ts";

const folder = await mkdtemp(join(tmpdir(), "heddle-needs-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes a file with the start of an ELF file and a string table. */
async function elf(name: string, strings: string[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `\x7fELF\0\0\0\0\0${strings.join("\0")}\0`, "latin1");
  return path;
}

test("compares versions by their numbers", () => {
  expect(["2.28", "2.9", "2.2.5", "2.34", "3.4"].sort(compareVersions)).toEqual([
    "2.2.5",
    "2.9",
    "2.28",
    "2.34",
    "3.4",
  ]);
  expect(compareVersions("2.0", "2")).toBe(0);
});

test("names the newest versions of glibc and libstdc++ that a binary needs", async () => {
  const path = await elf("glibc.node", [
    "libc.so.6",
    "GLIBC_2.9",
    "GLIBC_2.28",
    "GLIBC_2.2.5",
    "GLIBCXX_3.4.9",
    "GLIBCXX_3.4.22",
  ]);
  expect(binaryNeeds(path)).toEqual({ libc: "glibc", glibc: "2.28", glibcxx: "3.4.22" });
});

test("recognizes a binary for musl by the name of its C library", async () => {
  expect(binaryNeeds(await elf("musl.node", ["libc.musl-x86_64.so.1", "memcpy"]))).toEqual({ libc: "musl" });
  expect(binaryNeeds(await elf("zig.node", ["libc.so", "memcpy"]))).toEqual({ libc: "musl" });
});

test("does not mistake other strings in a binary for a version", async () => {
  const path = await elf("texts.node", ["expected GLIBC_2.99 here", "GLIBC_PRIVATE", "GLIBC_2.17"]);
  expect(binaryNeeds(path).glibc).toBe("2.17");
});

test("returns an empty object for a file that is not an ELF file", async () => {
  const path = join(folder, "text");
  await writeFile(path, "GLIBC_2.17\0GLIBC_2.18\0");
  expect(binaryNeeds(path)).toEqual({});
});

test.runIf(process.platform === "linux")("agrees with objdump about this build", () => {
  const path = addonPath();
  const symbols = execFileSync("objdump", ["-T", path], { encoding: "utf8", maxBuffer: 1 << 28 });
  const newest = (name: string) =>
    [...symbols.matchAll(new RegExp(`\\(?${name}_([\\d.]+)\\)?`, "g"))]
      .map(([, version]) => version!)
      .sort(compareVersions)
      .at(-1);
  const { glibc, glibcxx } = binaryNeeds(path);
  expect({ glibc, glibcxx }).toEqual({ glibc: newest("GLIBC"), glibcxx: newest("GLIBCXX") });
});
