// HEDDLE_CHECK=1 names the user's source line that created a failing node, in ES modules and CommonJS. The user's folder has the name of one
// of heddle's own, graph.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { entry, node } from "./helpers.ts";

const graph = new URL("graph/index.js", entry).href;
const body = `
const device = openDevice();
const program = compile(() => ({
  y: embedding(tensor("table", "f32", [4, 8]), input("ids", "i32", [1])),
}));
const run = program.bind(device, new Map([["table", Tensor.zeros(device, "f32", [4, 8])]]));
run.run({ ids: Int32Array.of(9) }).catch((error) => console.log(error.message));
`;
const names = "{ compile, embedding, input, openDevice, Tensor, tensor }";
const required = createRequire(entry).resolve("./graph/index.cjs");

test.each([
  ["author.mjs", `import ${names} from ${JSON.stringify(graph)};${body}`],
  ["author.cjs", `const ${names} = require(${JSON.stringify(required)});${body}`],
])("the error of a failing node names the user's source line in %s", async (name, code) => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-origin-"));
  const file = join(folder, "graph", name);
  try {
    await mkdir(join(folder, "graph"));
    await writeFile(file, code);
    const set = `process.env.HEDDLE_CHECK = "1"; import(${JSON.stringify(pathToFileURL(file).href)})`;
    const { stdout, stderr } = await node(["-e", set]);
    expect({ stdout, stderr }).toMatchObject({ stderr: "" });
    expect(stdout).toMatch(new RegExp(`^embedding: id 9 .*\\(made at .*${name}:4:6\\)*\\n$`));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
