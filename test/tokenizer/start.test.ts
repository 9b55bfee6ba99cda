// What `import { Tokenizer } from "heddle/tokenizer"` costs a program before it does anything, and what it leaves for later.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { binding } from "../../lib/binding.ts";
import { leastRatio } from "../helpers/clock.ts";

const built = fileURLToPath(new URL("../../dist/tokenizer/index.js", import.meta.url));
const model = fileURLToPath(new URL("../../models/default", import.meta.url));

/** The JSON that a module prints in a process of its own. */
function run<T>(code: string): T {
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

const importIt = `const { Tokenizer } = await import(${JSON.stringify(pathToFileURL(built).href)});`;

describe.skipIf(!existsSync(built))("the start of heddle/tokenizer", () => {
  it("loads nothing that a program may not need", () => {
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

  // A fifth to 0.29 of it. The addon that sanitizers look at takes longer to load.
  it.skipIf("failForTest" in binding)("takes a fraction of the start of Node itself", async () => {
    const cpu = "const { user, system } = process.cpuUsage(); console.log(user + system);";
    const milliseconds = (code: string) => run<number>(code) / 1000;
    const ratio = await leastRatio(1.5, [() => milliseconds(importIt + cpu), () => milliseconds(cpu)], 60);
    expect(ratio).toBeLessThan(1.5);
  });
});
