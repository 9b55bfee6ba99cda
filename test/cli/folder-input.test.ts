// A folder as standard input, which Node.js reads as empty. Tests the built bin entry in a separate process.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { bin } from "./run.ts";
import { folder, model } from "./tiny.ts";

async function withFolder(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const input = await open(folder);
  try {
    const child = spawn(process.execPath, [bin, ...args], { cwd: folder, stdio: [input.fd, "ignore", "pipe"] });
    const [stderr, [code]] = await Promise.all([text(child.stderr!), once(child, "exit")]);
    return { code, stderr };
  } finally {
    await input.close();
  }
}

// Windows has no folders as standard input.
describe.skipIf(process.platform === "win32")("a folder as standard input", () => {
  test.each([
    ["tokenize", ["tokenize", "-"]],
    ["tokenize with shards", ["tokenize", "--file", "-", "--to-shards", "folder-shards"]],
    ["generate", ["generate", "-", "--max-tokens", "2"]],
    ["embed", ["embed", "-"]],
    ["logits", ["logits", "-"]],
    ["chat", ["chat", "--max-tokens", "2"]],
  ])("is refused by the command %s", async (_, args) => {
    expect(await withFolder([...args, "--model", model])).toEqual({
      code: 2,
      stderr: "heddle: standard input: expected a file, got a folder\n",
    });
  });
});
