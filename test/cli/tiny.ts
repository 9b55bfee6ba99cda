// Creates a folder with tiny models and a text for each test file that imports this module, and runs commands in it.
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { type CliResult, runCli, startCli } from "./run.ts";

export let folder: string;
/** A model with a tokenizer. */
export let model: string;
/** A model without a tokenizer. */
export let modelWithoutTokenizer: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-"));
  model = join(folder, "model");
  modelWithoutTokenizer = join(folder, "bare");
  await using withText = tinyModel({ tokenizer: await tinyTokenizer() });
  await withText.save(model);
  await using without = tinyModel();
  await without.save(modelWithoutTokenizer);
  await writeFile(join(folder, "corpus.txt"), `${sentences.join("\n")}\n`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

export function start(args: readonly string[]): ChildProcessWithoutNullStreams {
  return startCli(args, folder);
}

export function heddle(args: readonly string[], stdin = ""): Promise<CliResult> {
  return runCli(args, { cwd: folder, stdin });
}

/** Runs a command that must succeed, with `--json`. @returns the objects on stdout, one per line */
// biome-ignore lint/suspicious/noExplicitAny: the tests say what the fields are
export async function json(args: readonly string[], stdin = ""): Promise<Record<string, any>[]> {
  const { code, stdout, stderr } = await heddle([...args, "--json"], stdin);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout.endsWith("\n")).toBe(true);
  return stdout
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** Runs a command that must fail with code 2, with or without `--json`. @returns its line on stderr */
export async function refused(args: readonly string[], { json = true } = {}): Promise<string> {
  const { code, stdout, stderr } = await heddle(json ? [...args, "--json"] : args);
  expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: "" });
  expect(stderr).toMatch(/^heddle: [^\n]+\n$/);
  return stderr;
}
