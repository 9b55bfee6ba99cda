// Writes to a full disk, a small RAM disk visible only to a child process. They fail with an error, keep existing files, leave no temp files,
// and succeed once there is room.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { entry } from "./helpers.ts";

const mounts = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;
if (!mounts) console.warn("a process cannot mount a RAM disk of its own: full disks are not tested");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-full-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a script with `disk`, a folder on a disk of the given size. Returns the JSON lines that it prints. */
async function onDisk(room: string, script: string): Promise<unknown[]> {
  const source = `
    import * as heddle from ${JSON.stringify(entry)};
    import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
    const disk = "/mnt";
    const print = (value) => console.log(JSON.stringify(value));
    const failure = (work) => work().then(() => "none", ({ name, code, message }) => [name, code, message]);
    const free = () => statfsSync(disk).bavail * statfsSync(disk).bsize;
    const leave = (bytes) => writeFileSync(disk + "/fill-" + bytes, Buffer.alloc(free() - bytes));
    const hidden = () => readdirSync(disk, { recursive: true }).filter((name) => /(^|\\/)\\./.test(name));
    const config = { modelType: "llama", hiddenSize: 64, intermediateSize: 128, numHiddenLayers: 2, numAttentionHeads: 2, numKeyValueHeads: 2, maxPositionEmbeddings: 32 };
    ${script}`;
  const path = join(folder, "script.mjs");
  await writeFile(path, source);
  const mounted = `mount -t tmpfs -o size=${room} none /mnt && exec "$@"`;
  const ran = spawnSync("unshare", ["-rm", "sh", "-c", mounted, "sh", process.execPath, path], { encoding: "utf8" });
  expect({ status: ran.status, stderr: ran.stderr }).toEqual({ status: 0, stderr: "" });
  return ran.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const full = (path: string) => [
  "HeddleError",
  "IO",
  expect.stringMatching(`${path}: cannot be (written|created): no space left on the disk$`),
];

test.skipIf(!mounts)("saving over a model, converting and saving a session survive a full disk", async () => {
  const printed = await onDisk(
    "6m",
    `
    const model = heddle.createModel({ ...config, vocabSize: 2000 }, { seed: 1 });
    await model.save(disk + "/model");
    const session = model.session();
    await session.generate([1, 2, 3], { maxTokens: 2 });
    await session.save(disk + "/session");
    leave(200_000);
    for (const work of [
      () => model.save(disk + "/model"),
      () => heddle.convertModel(disk + "/model", disk + "/model.gguf"),
      () => heddle.convertModel(disk + "/model", disk + "/converted"),
    ]) print(await failure(work));
    leave(0);
    print(await failure(() => session.save(disk + "/session")));
    print(hidden());
    (await model.loadSession(disk + "/session")).dispose();
    await (await heddle.LanguageModel.load(disk + "/model")).dispose();
    for (const bytes of [200_000, 0]) rmSync(disk + "/fill-" + bytes);
    print(await failure(() => heddle.convertModel(disk + "/model", disk + "/model.gguf")));`,
  );
  expect(printed).toEqual([
    full("model.safetensors"),
    full("model.gguf"),
    full("converted/model.safetensors"),
    full("session"),
    [],
    "none",
  ]);
});

test.skipIf(!mounts)("training and its log survive a full disk", async () => {
  const printed = await onDisk(
    "5m",
    `
    const text = Array.from({ length: 100 }, (_, i) => "After " + i + " comes " + (i + 1) + ".").join("\\n\\n");
    writeFileSync(disk + "/train.txt", text);
    const tokenizer = await heddle.Tokenizer.train([text], { vocabSize: 280 });
    const run = async (more) => {
      const model = heddle.createModel({ ...config, tieWordEmbeddings: true }, { tokenizer, seed: 3 });
      const steps = [];
      const options = { data: disk + "/train.txt", perDeviceTrainBatchSize: 1, maxSeqLength: 16, maxSteps: 30, outputDir: disk + "/out", saveSteps: 2 };
      print(await failure(async () => { for await (const { step } of heddle.pretrain(model, { ...options, ...more })) steps.push(step); }));
      await model.dispose();
      print([steps[0], steps.at(-1), hidden()]);
    };
    await run({});
    const saved = () => readdirSync(disk + "/out").filter((name) => name.startsWith("checkpoint-")).map((name) => Number(name.slice(11))).sort((a, b) => a - b);
    const before = saved();
    print(before);
    await run({ resume: "auto" });
    for (const step of before.slice(0, -1)) rmSync(disk + "/out/checkpoint-" + step, { recursive: true });
    await run({ resume: "auto", saveTotalLimit: 1 });
    print(saved());
    const logged = readFileSync(disk + "/out/log.jsonl", "utf8").trimEnd().split("\\n").map((line) => JSON.parse(line).step);
    print(logged);`,
  );
  const last = (printed[2] as number[]).at(-1)!;
  expect(last).toBeGreaterThan(2);
  expect(printed).toEqual([
    full(`checkpoint-${last + 2}/\\w+\\.safetensors`),
    [1, last + 2, []],
    Array.from({ length: last / 2 }, (_, i) => 2 * i + 2),
    full(`checkpoint-${last + 2}/\\w+\\.safetensors`),
    [last + 1, last + 2, []],
    "none",
    [last + 1, 30, []],
    [30],
    Array.from({ length: 30 }, (_, i) => i + 1),
  ]);
});
