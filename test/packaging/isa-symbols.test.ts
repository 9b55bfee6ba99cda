// The linker keeps one copy of an inline function that several files define. Were that the copy of a file compiled for
// AVX-512, a processor without it would meet an illegal instruction in innocent code. So whatever isa_<name>.cc leaves
// for the linker to merge must carry its own namespace in its name.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./tools.ts";

const folder = join(root, ".cmake", "release", "CMakeFiles", "heddle_core.dir", "native", "cpu", "isa");
const objects = existsSync(folder) ? readdirSync(folder).filter((name) => /^isa_\w+\.cc\.o$/.test(name)) : [];

test("the build has an object file per instruction set", () => {
  expect(objects.length, `no isa_*.cc.o in ${folder}: run \`npm run build:native\` first`).toBeGreaterThan(1);
});

test.each(objects)("%s defines no inline function that other files share", (name) => {
  const own = `heddle::${name.replace(/\.cc\.o$/, "")}::`;
  const symbols = execFileSync("nm", ["-C", "--defined-only", join(folder, name)], { encoding: "utf8" }).split("\n");
  // W, V and u: what the linker merges. A pointer to the routine that unwinds exceptions is no code.
  const shared = symbols.filter(
    (line) => /^[0-9a-f]+ [WVu] /.test(line) && !line.endsWith(" DW.ref.__gxx_personality_v0"),
  );
  expect(shared.filter((line) => !line.includes(own))).toEqual([]);
});
