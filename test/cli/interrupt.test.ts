// Long commands stopped by a signal or by a closed standard output keep what is done, and report it.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { open, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { exitCodeOf } from "../../lib/cli/exit-code.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { bin } from "./run.ts";
import { folder, heddle, model, refused, start } from "./tiny.ts";

/** Configures a run with many more steps than any test waits for. */
async function training(name: string): Promise<string[]> {
  const config = {
    model,
    data: "corpus.txt",
    maxSeqLength: 16,
    maxSteps: 100_000,
    saveSteps: 100_000,
    outputDir: name,
  };
  await writeFile(join(folder, `${name}.json`), JSON.stringify(config));
  return ["train", "pretrain", "--config", `${name}.json`, "--json"];
}

const checkpoints = async (name: string) =>
  (await readdir(join(folder, name))).filter((entry) => entry.startsWith("checkpoint-"));

/** Waits for the end of a process. @returns its exit code and stderr */
function ended(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, said })));
}

/** Runs a command until the first bytes on a stream, then applies `then` to the process. */
async function atFirst(args: string[], stream: "stdout" | "stderr", then: (child: ChildProcess) => void) {
  const child = start(args);
  const end = ended(child);
  child.stdin.end();
  child[stream].once("data", () => then(child));
  return end;
}

describe("a long command whose stdout is closed", () => {
  test("train saves a checkpoint and exits with 141, and --resume continues", async () => {
    const args = await training("piped");
    const { code, said } = await atFirst(args, "stdout", (child) => child.stdout!.destroy());
    expect(code).toBe(141);
    const [saved] = await checkpoints("piped");
    expect(said).toBe(
      `heddle: train: stopped because standard output was closed; use --resume to continue from piped/${saved}\n`,
    );
    const step = Number(saved!.split("-")[1]);
    const config = JSON.parse(await readFile(join(folder, "piped.json"), "utf8"));
    await writeFile(join(folder, "piped.json"), JSON.stringify({ ...config, maxSteps: step + 1 }));
    const { stdout } = await heddle([...args, "--resume"]);
    expect(JSON.parse(stdout.split("\n")[0]!).step).toBe(step + 1);
  });

  test("lifecycle, bench and tokenize --to-shards exit with 141 too", async () => {
    const close = (child: ChildProcess) => child.stdout!.destroy();
    const life = await atFirst(["lifecycle", "--quick", "--out", "life", "--json"], "stdout", close);
    expect(life).toMatchObject({ code: 141, said: expect.stringContaining("run the command again to continue\n") });
    expect(await atFirst(["bench", "gemm", "--quick"], "stdout", close)).toMatchObject({ code: 141 });
    const shards = ["tokenize", "--model", model, "--file", "corpus.txt", "--to-shards", "shards"];
    const cut = await atFirst(
      [...shards, "--document-separator", "line", "--shard-tokens", "1", "--json"],
      "stdout",
      close,
    );
    expect(cut).toMatchObject({ code: 141, said: expect.stringContaining("use --resume to continue") });
  });

  test("convert has written its file, and reports that only the printed result is lost", async () => {
    const child = start(["convert", model, "piped.gguf"]);
    child.stdout.destroy();
    const { code, said } = await ended(child);
    expect(code).toBe(141);
    expect(said).toMatch(
      /^heddle: convert: the printed result was lost because standard output was closed; all other work is done\n$/,
    );
    expect(await readdir(folder)).toContain("piped.gguf");
  });
});

test.runIf(process.platform === "linux")(
  "train saves a checkpoint and exits with 1 if stdout cannot be written because the disk is full",
  async () => {
    const full = await open("/dev/full", "w");
    try {
      const args = await training("full");
      const child = spawn(process.execPath, [bin, ...args], { cwd: folder, stdio: ["ignore", full.fd, "pipe"] });
      const { code, said } = await ended(child);
      expect(code).toBe(1);
      const [saved] = await checkpoints("full");
      expect(said).toBe(
        `heddle: train: stopped because standard output cannot be written (no space left on the disk); use --resume to continue from full/${saved}\n`,
      );
    } finally {
      await full.close();
    }
  },
);

// For training, see train/train-options.test.ts.
describe.runIf(process.platform !== "win32")("a long command stopped by a signal", () => {
  test("lifecycle reports how to continue, and bench that it writes no partial report", async () => {
    const life = await atFirst(["lifecycle", "--quick", "--out", "stopped", "--json"], "stdout", (child) =>
      child.kill("SIGINT"),
    );
    expect(life.code).toBe(130);
    expect(life.said).toMatch(/\nheddle: lifecycle: stopped by a signal; finished work is kept; run the command again/);
    const bench = await atFirst(["bench", "gemm", "--quick", "--rounds", "100", "--json"], "stderr", (child) =>
      child.kill("SIGTERM"),
    );
    expect(bench.code).toBe(143);
    expect(bench.said).toMatch(/\nheddle: bench: stopped by a signal; no partial report is written\n$/);
  });
});

describe("a closed stderr", () => {
  test("does not end a command", async () => {
    const child = start(["bench", "gemm", "--quick", "--rounds", "1", "--json"]);
    child.stderr.destroy();
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
    expect(JSON.parse(text).results.length).toBeGreaterThan(1);
  });

  test("does not end a server that logs", async () => {
    const child = start(["serve", "--model", model, "--port", "0", "--log", "--json"]);
    child.stderr.destroy();
    const closed = new Promise((resolve) => child.on("close", resolve));
    try {
      const first = await new Promise<Buffer>((resolve) => child.stdout.once("data", resolve));
      const { url } = JSON.parse(String(first));
      for (let i = 0; i < 3; i++) expect((await fetch(`${url}/v1/models`)).status).toBe(200);
    } finally {
      child.kill("SIGTERM");
    }
    if (process.platform !== "win32") expect(await closed).toBe(0);
  });
});

describe("exit codes", () => {
  test("are 2 only for bad input", () => {
    const io = (code: string) =>
      new HeddleError("IO", "x: cannot be read", { cause: Object.assign(new Error(code), { code }) });
    const codes = (["INVALID_ARGUMENT", "INVALID_FILE", "NOT_FOUND", "UNSUPPORTED"] as const).map((code) =>
      exitCodeOf(new HeddleError(code, "x")),
    );
    expect(codes).toEqual([2, 2, 2, 2]);
    expect([io("ENOSPC"), io("EIO"), new HeddleError("NUMERICAL", "x"), new Error("x")].map(exitCodeOf)).toEqual([
      1, 1, 1, 1,
    ]);
    // An unreadable file is bad input. A wrapped error is judged by its cause, and an error of native code has no errno.
    expect(exitCodeOf(new HeddleError("IO", "y", { cause: io("EACCES") }))).toBe(2);
    expect(exitCodeOf(new HeddleError("IO", "model.safetensors: cannot be opened"))).toBe(2);
  });

  test("are explained in the help, and are 2 for a command group without a command", async () => {
    expect((await heddle(["--help"])).stdout).toMatch(/\nExit codes:\n {2}0 .*\n {2}1 /);
    expect(await refused(["train"], { json: false })).toBe(
      "heddle: train: expected one of pretrain, sft, classify, embed, reward, dpo, kto, orpo, simpo, ppo, grpo, got none\n",
    );
    expect(await refused(["tokenizer"], { json: false })).toMatch(
      /^heddle: tokenizer: expected one of train, got none\n$/,
    );
  });
});
