// The startup cost of `import { Tokenizer } from "heddle/tokenizer"`, and the number of files of every entry point.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { binding } from "../../lib/binding/index.ts";

const built = fileURLToPath(new URL("../../dist/tokenizer/index.js", import.meta.url));
const model = fileURLToPath(new URL("../../models/default", import.meta.url));

/** Runs a module in a child process and returns the JSON that it prints. */
function run<T>(code: string): T {
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

/** Returns the files that a built module imports statically, directly or through others. */
function filesOf(entry: string): Set<string> {
  const files = new Set([entry]);
  for (const file of files)
    for (const [, path] of readFileSync(file, "utf8").matchAll(/^(?:import|export) [^;]*?"(\.[^"]+)";$/gm)) {
      const other = join(dirname(file), path!);
      if (existsSync(other)) files.add(other); // the texts of web pages contain imports too
    }
  return files;
}

const importIt = `const { Tokenizer } = await import(${JSON.stringify(pathToFileURL(built).href)});`;

describe.skipIf(!existsSync(built))("importing heddle/tokenizer", () => {
  it("loads no packages, and none of Node's heavy modules", () => {
    const loaded = run<Record<"imported" | "used", string[]>>(`
      import { createRequire } from "node:module";
      const loaded = () => [
        ...process.moduleLoadList.map((name) => name.replace("NativeModule ", "")),
        ...Object.keys(createRequire(import.meta.url).cache),
      ];
      ${importIt}
      const imported = loaded();
      const tokenizer = await Tokenizer.load(${JSON.stringify(model)});
      tokenizer.decode(tokenizer.encode("a text"));
      console.log(JSON.stringify({ imported, used: loaded() }));
    `);
    const heavy = /^(crypto|worker_threads|vm|stream|zlib|child_process|http)$|node_modules/u;
    expect(loaded.imported.filter((name) => heavy.test(name))).toEqual([]);
    expect(loaded.used.filter((name) => heavy.test(name))).toEqual([]);
  });

  // Measure startup and import in one process, since CPU times of separate processes vary. A sanitized addon loads more slowly.
  it.skipIf("failForTest" in binding)("takes less than half of the CPU time of Node's startup", () => {
    const spent = "process.cpuUsage()";
    const ratio = () =>
      run<number>(`
        const before = ${spent};
        ${importIt}
        const after = ${spent};
        console.log((after.user + after.system) / (before.user + before.system));
      `);
    const ratios = Array.from({ length: 15 }, ratio).sort((x, y) => x - y);
    console.log(`median of ${ratios[0]} to ${ratios[14]}: ${ratios[7]}`);
    expect(ratios[7]).toBeLessThan(1.5);
  });
});

describe.skipIf(!existsSync(built))("the built package", () => {
  it.each(["index", "tokenizer/index", "graph/index", "serve/index", "ai-sdk/index", "cli/program"])(
    "has an entry point %s that loads few files, because each costs about half a millisecond",
    (entry) => {
      const files = filesOf(fileURLToPath(new URL(`../../dist/${entry}.js`, import.meta.url)));
      expect(files.size).toBeGreaterThan(1);
      expect(files.size).toBeLessThanOrEqual(entry === "tokenizer/index" ? 6 : 9);
    },
  );
});
