// `npm start` in a copy of the package, without and with the embedded model.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let copy: string;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "heddle-start-"));
  mkdirSync(join(copy, "scripts"));
  for (const part of ["dist", "package.json", "scripts/start.mjs"])
    cpSync(join(root, part), join(copy, part), { recursive: true });
  for (const part of ["node_modules", "build"])
    if (existsSync(join(root, part))) symlinkSync(join(root, part), join(copy, part));
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

function start(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(copy, "scripts/start.mjs"), ...args], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

test("npm start fails with one line if the embedded model is missing", () => {
  const { status, stdout, stderr } = start();
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^heddle: models\/default: expected the embedded model [^\n]+\n$/);
});

describe("npm start with the embedded model", () => {
  test("prints the text that its weights generate", async () => {
    cpSync(join(root, "models"), join(copy, "models"), { recursive: true });
    const { status, stdout, stderr } = start("Once", "upon a time");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("\nThe capital of France is Paris");
    expect(stdout).toContain("pretrain, then sft, then dpo");
    expect(stdout).toContain("\n> What is the capital of Japan?\nIt is Tokyo.\n");
    await using model = await LanguageModel.load("default");
    const { text } = await model.complete("Once upon a time", { maxTokens: 48, temperature: 0 });
    expect(stdout).toContain(`\nOnce upon a time${text}`);
    const chat = model.chat();
    for (const [, question, answer] of stdout.matchAll(/^> (.*)\n(.*)$/gm)) {
      const reply = await chat.send(question!, { maxTokens: 48, temperature: 0 });
      expect(reply.text).toBe(answer);
    }
    chat.dispose();
  });
});
