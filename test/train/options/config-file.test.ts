// Training configurations in JSON.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readTrainingConfig } from "../../../lib/train/options/config-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-config-file-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(text: string) {
  const path = join(folder, "config.json");
  await writeFile(path, text);
  return (await readTrainingConfig(path)).options;
}

test.each([
  ['{ "maxSteps": 1, "seed": 2, "maxSteps": 3 }', "maxSteps"],
  ['{ "lora": { "r": 4, "alpha": 1, "r": 8 } }', "r"],
  ['{ "max_steps": 1, "max_\\u0073teps": 2 }', "max_steps"],
])("rejects a duplicate key and names it: %s", async (text, key) => {
  await expect(read(text)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: `${key}: expected once, got twice`,
  });
});

test("accepts equal keys in different objects, a byte order mark and numbers of many digits", async () => {
  const digits = `0.${"3".repeat(80)}`;
  const text = `\ufeff{ "seed": 1, "learningRate": ${digits}, "parameterGroups": [{ "match": "a", "freeze": true }, { "match": "b", "freeze": true }] }`;
  expect(await read(text)).toMatchObject({
    seed: 1,
    learningRate: Number(digits),
    parameterGroups: ["a", "b"].map((match) => ({ match, freeze: true })),
  });
});
