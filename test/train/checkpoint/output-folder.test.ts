// A run overwrites another run's files, or a model, only if asked to.
import { existsSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { temporaryFolder } from "../../formats/helpers.ts";
import { tinyModel } from "../../inference/helpers.ts";

const rows = Array.from({ length: 8 }, (_, i) => ({ prompt: `After ${i} comes`, completion: ` ${i + 1}.` }));
let tokenizer: Tokenizer;
let outputDir: string;

beforeAll(async () => {
  tokenizer = await Tokenizer.train([rows.map(({ prompt, completion }) => prompt + completion).join("\n")], {
    vocabSize: 270,
  });
});
beforeEach(() => {
  outputDir = temporaryFolder();
});

async function train(more: Partial<SftOptions> = {}, base?: LanguageModel) {
  await using own = base ? undefined : tinyModel({ tokenizer });
  return await sft(base ?? own!, { data: rows, maxSteps: 3, saveSteps: 1, dtype: "f32", outputDir, ...more });
}

/** Returns every file below a folder with its bytes. */
async function bytesIn(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(await Promise.all(files.map(async (path) => [path, await readFile(path, "hex")] as const)));
}

const refused = (message: RegExp) => ({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });

describe("without overwriteOutputDir", () => {
  test("rejects a second run, names the folder and both alternatives, and leaves every file unchanged", async () => {
    await train();
    const before = await bytesIn(outputDir);
    await expect(train({ maxSteps: 1 })).rejects.toThrow(
      `outputDir: expected a folder without a run or a model, got ${outputDir}, which holds 3 checkpoints (newest: checkpoint-3), a model (config.json) and the log of a run (log.jsonl); resume: "auto" (--resume) continues that run; overwriteOutputDir: true (--overwrite-output-dir) replaces it`,
    );
    expect(await bytesIn(outputDir)).toEqual(before);
  });

  test.each([
    ["checkpoints alone", ["log.jsonl", "config.json", "model.safetensors"], /holds 3 checkpoints \(newest/],
    ["a broken checkpoint", ["checkpoint-3/trainer_state.json", "checkpoint-2", "checkpoint-1"], /holds a checkpoint/],
    ["a log alone", ["checkpoint-1", "checkpoint-2", "checkpoint-3", "config.json", "model.safetensors"], /the log/],
    ["a model alone", ["checkpoint-1", "checkpoint-2", "checkpoint-3", "log.jsonl"], /holds a model \(config\.json\)/],
  ])("rejects a run into a folder with %s", async (_, removed, message) => {
    await train();
    for (const name of removed) await rm(join(outputDir, name), { recursive: true });
    await expect(train()).rejects.toMatchObject(refused(message));
  });

  test('resume: "auto" starts over if the run was stopped before its first checkpoint', async () => {
    await train();
    const log = await readFile(join(outputDir, "log.jsonl"), "utf8");
    await rm(outputDir, { recursive: true });
    outputDir = temporaryFolder();
    await writeFile(join(outputDir, "log.jsonl"), log);
    expect(await train({ resume: "auto" })).toMatchObject({ steps: 3 });
  });

  test('resume: "auto" does not overwrite a model in a folder without checkpoints', async () => {
    await train();
    for (const step of [1, 2, 3]) await rm(join(outputDir, `checkpoint-${step}`), { recursive: true });
    await expect(train({ resume: "auto" })).rejects.toMatchObject(
      refused(/holds a model \(config\.json\); overwriteOutputDir: true \(--overwrite-output-dir\) replaces/),
    );
  });

  test("rejects a run that resumes from another folder if outputDir holds a run already", async () => {
    const other = temporaryFolder();
    await train({ outputDir: other });
    await train();
    await expect(train({ resume: join(other, "checkpoint-2") })).rejects.toMatchObject(refused(/which holds 3 check/));
    expect(await train({ resume: join(outputDir, "checkpoint-2") })).toMatchObject({ steps: 3 });
  });

  test("accepts a folder with other files, such as a tokenizer's", async () => {
    await tokenizer.save(outputDir);
    expect(await train()).toMatchObject({ steps: 3 });
  });
});

describe("overwriteOutputDir", () => {
  test("removes the other run's checkpoints and log, so that two runs never mix", async () => {
    await train({ maxSteps: 5 });
    await train({ maxSteps: 2, overwriteOutputDir: true, seed: 1 });
    const names = await readdir(outputDir);
    expect(names.filter((name) => name.startsWith("checkpoint-")).sort()).toEqual(["checkpoint-1", "checkpoint-2"]);
    const log = (await readFile(join(outputDir, "log.jsonl"), "utf8")).trim().split("\n");
    expect(log.map((line) => JSON.parse(line).step)).toEqual([1, 2]);
  });

  test("removes nothing until the run can begin", async () => {
    await train();
    const before = await bytesIn(outputDir);
    await expect(train({ overwriteOutputDir: true, lora: { r: 2, targetModules: ["none"] } })).rejects.toThrow();
    await expect(train({ overwriteOutputDir: true, data: [] })).rejects.toThrow();
    expect(await bytesIn(outputDir)).toEqual(before);
  });

  test("removes the other run's checkpoints before the first step, so that a killed run leaves no mix of both runs", async () => {
    await train();
    await using model = tinyModel({ tokenizer });
    const options = { data: rows, maxSteps: 3, saveSteps: 3, outputDir, overwriteOutputDir: true } as const;
    for await (const event of sft(model, options)) {
      expect((await readdir(outputDir)).filter((name) => name.startsWith("checkpoint-"))).toEqual([]);
      if (event.step === 1) break;
    }
  });

  test("an adapter replaces a whole model in the folder, and vice versa", async () => {
    const folder = temporaryFolder();
    await using saved = tinyModel({ tokenizer });
    await saved.save(folder);
    await using base = await LanguageModel.load(folder);
    await train();
    await train({ overwriteOutputDir: true, lora: { r: 2 } }, base);
    expect(existsSync(join(outputDir, "config.json"))).toBe(false);
    expect(existsSync(join(outputDir, "model.safetensors"))).toBe(false);
    await using adapted = await LanguageModel.load(outputDir);
    expect(adapted.model.activeAdapters).toHaveLength(1);
    await train({ overwriteOutputDir: true });
    expect((await readdir(outputDir)).filter((name) => name.startsWith("adapter"))).toEqual([]);
    await using whole = await LanguageModel.load(outputDir);
    expect(whole.model.activeAdapters).toEqual([]);
  });

  test("an adapter does not overwrite its base", async () => {
    await train();
    await using base = await LanguageModel.load(outputDir);
    const before = await bytesIn(outputDir);
    await expect(train({ overwriteOutputDir: true, lora: { r: 2 } }, base)).rejects.toMatchObject(
      refused(/^outputDir: expected a folder other than the adapter's base, got /),
    );
    expect(await bytesIn(outputDir)).toEqual(before);
  });

  test("is rejected with a resume from the same folder", async () => {
    await train();
    const before = await bytesIn(outputDir);
    for (const resume of ["auto", true] as const)
      await expect(train({ overwriteOutputDir: true, resume })).rejects.toMatchObject(
        refused(/^overwriteOutputDir: cannot be combined with resume: /),
      );
    await expect(train({ overwriteOutputDir: true, resume: join(outputDir, "checkpoint-2") })).rejects.toMatchObject(
      refused(/^overwriteOutputDir: cannot be combined with resume from a checkpoint in outputDir/),
    );
    expect(await bytesIn(outputDir)).toEqual(before);
  });

  test("works with a resume from another folder", async () => {
    const other = temporaryFolder();
    await train({ outputDir: other });
    await train();
    expect(await train({ overwriteOutputDir: true, resume: join(other, "checkpoint-2") })).toMatchObject({ steps: 3 });
    expect((await readdir(outputDir)).filter((name) => name.startsWith("checkpoint-"))).toEqual(["checkpoint-3"]);
  });

  test("does not remove another program's log.jsonl", async () => {
    await writeFile(join(outputDir, "log.jsonl"), "a web server's log\n");
    await expect(train({ overwriteOutputDir: true })).rejects.toMatchObject({ code: "INVALID_FILE" });
    expect(await readFile(join(outputDir, "log.jsonl"), "utf8")).toBe("a web server's log\n");
  });
});
