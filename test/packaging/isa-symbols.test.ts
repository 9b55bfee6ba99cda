// The linker keeps one copy of an inline function defined in several files. If that copy were compiled for AVX-512, other code would crash
// on processors without it. So all mergeable symbols of isa_<name>.cc must be in its own namespace. Only isa_baseline.cc may have others.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./tools.ts";

const folder = join(root, ".cmake", "release", "CMakeFiles", "heddle_core.dir", "native", "cpu", "isa");
const objects = existsSync(folder) ? readdirSync(folder).filter((name) => /^isa_\w+\.cc\.o$/.test(name)) : [];

test("the build has object files of the baseline and of this processor's first instruction set", () => {
  const first = { x64: "avx2", arm64: "neon" }[process.arch as string];
  const message = `no isa_*.cc.o in ${folder}: run \`npm run build:native\` first`;
  expect(objects, message).toEqual(expect.arrayContaining(["isa_baseline.cc.o", `isa_${first}.cc.o`]));
});

// The baseline is compiled for the same processors as all other code, so any code may use its copies.
test.each(objects.filter((name) => name !== "isa_baseline.cc.o"))(
  "%s has no mergeable symbols outside its own namespace",
  (name) => {
    const own = `heddle::${name.replace(/\.cc\.o$/, "")}::`;
    const symbols = execFileSync("nm", ["-C", "--defined-only", join(folder, name)], { encoding: "utf8" }).split("\n");
    // W, V and u are symbols that the linker merges. The pointer to the exception personality routine is data.
    const shared = symbols.filter(
      (line) => /^[0-9a-f]+ [WVu] /.test(line) && !line.endsWith(" DW.ref.__gxx_personality_v0"),
    );
    expect(shared.filter((line) => !line.includes(own))).toEqual([]);
  },
);
