// `heddle pull` and `heddle models`, by the built command against a server on loopback.
import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bytes, cache, hub, modelFiles } from "../hub/helpers.ts";
import { bin, runCli } from "./run.ts";

async function json(...args: string[]) {
  const { code, stdout, stderr } = await runCli([...args, "--json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

async function refused(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^heddle: [^\n]+\n$/);
  return stderr;
}

test("a pulled model is listed, can be used by its name, and can be removed", async () => {
  const commit = hub.add("owner/tiny", await modelFiles());
  const pulled = await json("pull", "owner/tiny");
  expect(pulled).toMatchObject({ name: "owner/tiny", revision: "main", commit, kind: "safetensors" });
  const { code, stdout, stderr } = await runCli(["pull", "owner/tiny"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^owner\/tiny: \d+ files, [\d.]+ kB, there already\n.*snapshots.*\n$/);
  hub.add("owner/onnx", { "model.onnx": "x", "tokenizer.json": "{}" });
  await json("pull", "owner/onnx", "--include", "model.onnx");
  const { models, ...folders } = await json("models");
  expect(folders.cache).toBe(cache);
  expect(models).toEqual([
    expect.objectContaining({
      name: "owner/onnx",
      loads: false,
      kind: null,
      problem: expect.stringMatching(/got ONNX \(model\.onnx\)$/),
    }),
    {
      name: "owner/tiny",
      source: "cache",
      commit,
      refs: ["main"],
      bytes: pulled.bytes,
      path: pulled.path,
      kind: "safetensors",
      type: "llama",
      loads: true,
    },
  ]);
  const screen = (await runCli(["models"])).stdout;
  expect(screen).toMatch(/^ {2}owner\/tiny +[\d.]+ kB, safetensors, llama, commit [0-9a-f]{12}$/m);
  const asked = hub.requests.length;
  expect((await json("tokenize", "The cat", "--model", "owner/tiny")).count).toBeGreaterThan(0);
  expect(
    (await json("generate", "The cat", "--model", "owner/tiny", "--max-tokens", "3", "--ignore-eos")).tokens,
  ).toHaveLength(3);
  expect((await json("info", "--model", "owner/tiny")).path).toBe(pulled.path);
  expect(hub.requests.length).toBe(asked);
  expect(await json("models", "rm", "owner/tiny")).toEqual({ name: "owner/tiny", bytes: pulled.bytes });
  await json("models", "rm", "owner/onnx");
  expect((await runCli(["models"])).stdout).toBe(
    `No models in ${cache} or ${process.env.OLLAMA_MODELS}. heddle pull OWNER/NAME fetches one.\n`,
  );
});

test("invalid names, commands and repositories are rejected with a one-line error", async () => {
  expect(await refused("pull")).toContain("arguments: expected OWNER/NAME[@REVISION][:TAG], got none");
  expect(await refused("pull", "../x")).toContain('name: expected OWNER/NAME[@REVISION][:TAG], got "../x"');
  expect(await refused("pull", "owner/none")).toContain("owner/none: http://127.0.0.1");
  expect(await refused("pull", "owner/none", "--model", "x")).toContain("--model: expected the model as the argument");
  expect(await refused("models", "remove", "x")).toContain(
    'arguments: expected none, or rm and names, got "remove" "x"',
  );
  expect(await refused("models", "rm")).toContain('got "rm"');
  expect(await refused("models", "rm", "owner/none")).toContain(`owner/none: no model of this name in ${cache}`);
  expect(await refused("generate", "x", "--model", "owner/none")).toContain("(heddle pull owner/none fetches it)");
  hub.add("owner/pickles", { "config.json": "{}", "pytorch_model.bin": "x" });
  expect(await refused("pull", "owner/pickles")).toContain("got PyTorch weights (pytorch_model.bin)");
});

test.runIf(process.platform !== "win32")(
  "Ctrl-C keeps the part downloaded so far, and the next pull continues after it",
  async () => {
    const content = bytes(400_000);
    hub.add("owner/stopped", { "config.json": "{}", "model.safetensors": { content, lfs: true } });
    let isHalf: () => void = () => {};
    const half = new Promise<void>((resolve) => {
      isHalf = resolve;
    });
    hub.hook = (_, response, where) => {
      if (where !== "storage") return false;
      response.writeHead(200, { "content-length": content.length });
      response.write(content.subarray(0, 200_000), () => setTimeout(isHalf, 500));
      return true;
    };
    const child = spawn(process.execPath, [bin, "pull", "owner/stopped"]);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    await half;
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect({ code, stderr }).toEqual({
      code: 130,
      stderr: "heddle: pull: stopped by a signal; the downloaded part is kept; run the command again to continue\n",
    });
    const blobs = join(cache, "models--owner--stopped", "blobs");
    const partial = (await readdir(blobs)).find((name) => name.endsWith(".heddle-incomplete"));
    const kept = statSync(join(blobs, partial!)).size;
    expect(kept).toBe(200_000);
    hub.hook = undefined;
    expect(await json("pull", "owner/stopped")).toMatchObject({ fetched: 200_000, bytes: 400_002 });
    expect(hub.requests.at(-1)!.range).toBe("bytes=200000-");
  },
);
