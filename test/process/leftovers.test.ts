// Temp files of a killed process are removed by the next one; files that a live process is writing are kept.
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { convertModel, sft } from "../../lib/index.ts";
import { left } from "../helpers/left.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { entry, graph, node } from "./helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-leftovers-"));
  await using model = tinyModel({ tokenizer: await tinyTokenizer() });
  await model.save(join(folder, "base"));
  await sft(model, { data: [{ text: "a cat" }, { text: "a dog" }], maxSteps: 1, maxSeqLength: 16, lora: { r: 2 } });
  await model.saveAdapter(join(folder, "adapter"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a script that calls `wait` during its work, and kills it there. */
async function killed(script: string, module = entry, environment: Record<string, string> = {}): Promise<void> {
  const wait = `const wait = () => { console.log("now"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); };`;
  const given = `Object.assign(process.env, ${JSON.stringify(environment)});`;
  const source = `import * as heddle from ${JSON.stringify(module)}; ${given} ${wait} ${script}`;
  const { signal, stderr } = await node(["--input-type=module", "-e", source], (_, kill) => kill("SIGKILL"));
  expect({ signal, stderr }).toEqual({ signal: "SIGKILL", stderr: "" });
}

test("a conversion removes the merged base and the output of a killed one", async () => {
  const out = join(folder, "converted");
  await mkdir(out);
  const args = [join(folder, "adapter"), join(out, "model.gguf"), { base: join(folder, "base") }] as const;
  const [from, to, options] = args.map((one) => JSON.stringify(one));
  await killed(`await heddle.convertModel(${from}, ${to}, { ...${options}, onProgress: wait });`);
  const found = (await readdir(out)).map((name) => name.replace(/\.\w*\.\d+(-\w+)?\.[0-9a-f]{8}/, ""));
  expect(found.sort()).toEqual([".heddle-merged", ".model.gguf.tmp"]);
  const living = [left(".heddle-merged", "", process.ppid), left(".model.gguf", ".tmp", process.ppid)];
  await mkdir(join(out, living[0]!));
  await writeFile(join(out, living[1]!), "");
  await convertModel(...args);
  expect((await readdir(out)).sort()).toEqual([...living, "model.gguf"].sort());
});

test("a benchmark removes the files of a killed one", async () => {
  const TMPDIR = join(folder, "scratch");
  await mkdir(TMPDIR);
  const options = `{ suites: ["gemm"], quick: true, rounds: 1, threads: 1, onResult: wait }`;
  await killed(`await heddle.bench(${options});`, graph, { TMPDIR });
  const first = await readdir(TMPDIR);
  expect(first).toHaveLength(1);
  await killed(`await heddle.bench(${options});`, graph, { TMPDIR });
  const second = await readdir(TMPDIR);
  expect(second).toHaveLength(1);
  expect(second).not.toEqual(first);
});
