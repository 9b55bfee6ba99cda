// Checks the symbols and the size of each binary, without running it. `npm run test:platforms` builds the binaries.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { problemsOf, sizeLimit } from "../../../scripts/platforms/check.mjs";
import { makePackage, publishedJson } from "../../../scripts/platforms/packages.mjs";
import { binaryPath, findTarget, targets } from "../../../scripts/platforms/targets.mjs";
import { muslSymbols } from "../../../scripts/platforms/zig.mjs";
import { npm, root } from "../tools.ts";
import { asked } from "./consumer.ts";

describe.each(asked(targets.map(({ name }: { name: string }) => name)))("%s", (name) => {
  const target = findTarget(name);
  const binary = join(root, binaryPath(target));

  test("needs nothing that its systems lack, and exports only its entry points", () => {
    expect(existsSync(binary), `${binary} is missing: run \`npm run test:platforms\``).toBe(true);
    const systemNames = target.libc === "musl" ? muslSymbols() : undefined;
    expect(problemsOf(target, binary, systemNames)).toEqual([]);
  });

  test("is a package that npm selects by system, within the size limit", () => {
    const folder = mkdtempSync(join(tmpdir(), "heddle-package-"));
    try {
      const made = makePackage(target, folder);
      const [packed] = JSON.parse(npm(["pack", "--json", "--silent", "--pack-destination", folder], made));
      const files = packed.files.map(({ path }: { path: string }) => path).sort();
      expect(files).toEqual(["LICENSE", "README.md", "package.json", binaryPath(target)].sort());
      expect(packed.size).toBeLessThan(sizeLimit(target));
      const { os, cpu, libc, version } = JSON.parse(readFileSync(join(made, "package.json"), "utf8"));
      expect({ os, cpu, libc }).toEqual({
        os: [target.os],
        cpu: [target.cpu],
        libc: target.libc ? [target.libc] : undefined,
      });
      expect(publishedJson({ version }).optionalDependencies[`@heddle/${name}`]).toBe(version);
      console.log(`${name}: ${statSync(binary).size} bytes, packed ${packed.size}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
