// Tests the built bin entry in a separate process. `npm test` builds it first.
import { spawn } from "node:child_process";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { deviceInfo } from "../../lib/graph/index.ts";
import { loraNames } from "../../lib/models/adapters/lora.ts";
import { replaySchema } from "../../lib/train/options/text-data.ts";
import { dpoSchema } from "../../lib/train/stages/dpo.ts";
import { bin } from "./run.ts";
import { hasTerminal, openTerminal } from "./terminal.ts";
import { folder, heddle, json, model, modelWithoutTokenizer, refused, start } from "./tiny.ts";

describe("the program", () => {
  test("prints help and version", async () => {
    expect((await heddle([])).stdout).toContain("generate");
    expect((await heddle(["generate", "--help"])).stdout).toContain("--repetition-penalty");
    expect((await heddle(["tokenizer", "train", "-h"])).stdout).toContain("--vocab-size");
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect((await heddle(["--version"])).stdout).toBe(`${version}\n`);
  });

  test("a stage's help lists the keys of its configuration with their defaults", async () => {
    const { stdout, code } = await heddle(["train", "dpo", "--help"]);
    expect(code).toBe(0);
    const keys = stdout.slice(stdout.indexOf("Keys of the configuration file"));
    expect(keys).toMatch(/\n {2}perDeviceTrainBatchSize +pairs per micro-batch \(default 8\)\n/);
    expect(keys).toMatch(/\n {2}lossType +loss function \(sigmoid\|ipo\|hinge, default sigmoid\)\n/);
    for (const key of Object.keys(dpoSchema.shape)) expect(keys).toMatch(new RegExp(`\\n {2}${key} +\\S`));
    for (const key of ["model", "outputDir", "data"])
      expect(keys).toMatch(new RegExp(`\\n {2}${key} [^(]*(\\n {20}[^(]*)*\\(required\\)\\n`));
    expect(keys).toMatch(/\n {2}learningRate +peak learning rate \(default: 1e-5 with lora, 1e-6 without\)\n/);
    expect(keys).toMatch(/\n {2}saveSteps [^(]*\(default 500\)\n/);
    for (const key of [...loraNames, ...Object.keys(replaySchema.shape)])
      expect(keys).toMatch(new RegExp(`\\n {4}${key} +[a-z]`));
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    const sft = (await heddle(["train", "sft", "--help"])).stdout;
    expect(sft).toMatch(/\n {2}learningRate +peak learning rate \(default: 1e-4 with lora, 2e-5 without\)\n/);
    expect((await heddle(["train", "grpo", "--help"])).stdout).toMatch(/\n {2}rewards [^(]*\(required\)\n/);
  });

  test("--profile reports timings on stderr and leaves stdout unchanged", async () => {
    const args = ["logits", "--model", model, "--token-ids", "1,2,3", "--last", "--json"];
    const [plain, profiled] = [await heddle(args), await heddle([...args, "--profile"])];
    expect([profiled.code, profiled.stdout]).toEqual([0, plain.stdout]);
    const [head, ...rows] = profiled.stderr.trimEnd().split("\n");
    expect(head).toMatch(/^ *% +ms +calls +ms\/call +GFLOP\/s +GB\/s +op +kernel +operands$/);
    expect(rows.some((row) => /^ *[\d.]+ +[\d.]+ +\d+ .* linear +\w+_linear +f32\[/.test(row))).toBe(true);
    expect(rows.at(-1)).toMatch(/elsewhere$/);
    expect(plain.stderr).not.toContain("elsewhere");
  });

  test.skipIf(!hasTerminal)("--profile works on a terminal that reports a width of 0", async () => {
    const command = `${process.execPath} ${bin} logits --model ${model} --token-ids 1,2 --last --profile`;
    const terminal = openTerminal(`sh -c 'stty cols 0; exec ${command}'`, { cwd: folder });
    expect(await terminal.closed).toBe(0);
    expect(terminal.output).toContain("elsewhere");
  });

  test("suggests no option for an unknown option of one or two letters", async () => {
    expect(await refused(["generate", "x", "--tp", "1"])).toContain("--tp: expected one of --json,");
    expect(await refused(["generate", "x", "--seeed", "1"])).toContain("(nearest: --seed)");
  });

  test("chat and embed reject a model without a tokenizer", async () => {
    const said = "heddle: --model: expected a model with a tokenizer, got one without\n";
    for (const args of [["chat"], ["embed", "x"]])
      expect(await refused([...args, "--model", modelWithoutTokenizer])).toBe(said);
  });

  const hasGpu = deviceInfo().cuda.devices.length > 0;
  test.skipIf(hasGpu)(
    "autotune reports a missing CUDA device, and its message names --device only if it was given",
    async () => {
      expect(await refused(["autotune"])).toMatch(/^heddle: autotune: expected a CUDA device, .*got none\n$/);
      expect(await refused(["autotune", "--device", "cuda"])).toMatch(/^heddle: --device: /);
    },
  );

  test("names the nearest known command", async () => {
    expect(await refused(["generat"])).toContain("nearest: generate");
    expect(await refused(["tokenizer", "trian"])).toContain("nearest: train");
    expect(await refused(["xyzzyxyzzy"])).toContain("one of generate, chat");
  });

  test("a reader that closes the pipe is not a failure", async () => {
    const child = start(["logits", "--model", modelWithoutTokenizer, "--token-ids", "1,2,3,4,5,6,7,8", "--json"]);
    child.stdout.destroy();
    child.stdin.end();
    expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
  });

  test("rejects --model where the model is an argument, and invalid devices", async () => {
    expect(await refused(["convert", model, "out.gguf", "--model", model])).toContain("--model: expected the model as");
    expect(
      await refused(["tokenizer", "train", "corpus.txt", "--vocab-size", "300", "--out", "t", "--device", "gpu"]),
    ).toContain('--device: expected auto|cpu|cuda[:N], got "gpu"');
    expect((await heddle(["convert", "--help"])).stdout).not.toContain("--model");
  });

  test.each([
    ["info", "--device", "cpu"],
    ["info", "--threads", "2"],
    ["report", "x", "--device", "cpu"],
    ["report", "x", "--profile"],
    ["tokenize", "x", "--device", "cpu"],
    ["tokenize", "x", "--threads", "2"],
    ["tokenizer", "train", "corpus.txt", "--vocab-size", "300", "--out", "t", "--device", "cpu"],
  ])("rejects an option that the command does not use: %s %s %s", async (...args) => {
    const option = args.findLast((word) => word.startsWith("--"))!;
    expect(await refused(args)).toBe(`heddle: ${option}: expected no ${option.slice(2)}, got ${option}\n`);
  });

  test("rejects --budget-minutes with --quick, whose steps are fixed", async () => {
    const args = ["lifecycle", "--out", "life", "--quick", "--budget-minutes", "1"];
    expect(await refused(args)).toBe("heddle: --budget-minutes: cannot be combined with --quick\n");
  });

  test("rejects --num-assistant-tokens without --assistant-model", async () => {
    const args = ["generate", "x", "--model", model, "--num-assistant-tokens", "2"];
    expect(await refused(args)).toBe("heddle: --num-assistant-tokens: requires --assistant-model\n");
  });

  test("messages name the option or the configuration key that is wrong", async () => {
    expect(await refused(["generate", "x", "--model", model, "--logprobs", "-1"])).toContain("--logprobs: expected");
    await writeFile(join(folder, "none.json"), JSON.stringify({ maxSteps: 1 }));
    expect(await refused(["train", "pretrain", "--config", "none.json"])).toMatch(/^heddle: model: expected the path/);
    await writeFile(join(folder, "tokenizer.json"), "{}");
    expect(await refused(["tokenize", "x", "--model", "tokenizer.json"])).toMatch(/^heddle: tokenizer.json: model:/);
  });

  test("control characters in messages are escaped", async () => {
    await writeFile(join(folder, "evil.jsonl"), "\u001b[2J\u009b\n");
    const message = await refused(["embed", "--file", "evil.jsonl", "--model", model]);
    expect(message).toContain('"\\x1b[2J\\x9b"');
    expect(message).not.toMatch(/(?!\n)\p{Cc}/u);
  });

  test("a byte order mark and \\r\\n are not part of a JSON line", async () => {
    await writeFile(join(folder, "mark.jsonl"), '\ufeff"The cat"\r\n"a"\r\n');
    await writeFile(join(folder, "plain.jsonl"), '"The cat"\n"a"\n');
    const idsOf = async (file: string) => {
      const lines = await json(["tokenize", "--file", file, "--jsonl", "--model", model]);
      return lines.map(({ ids }) => ids);
    };
    const ids = await idsOf("mark.jsonl");
    expect(ids).toEqual([expect.any(Array), expect.any(Array)]);
    expect(ids).toEqual(await idsOf("plain.jsonl"));
  });

  test.runIf(process.platform === "linux")(
    "reports in one line that stdout cannot be written, and exits with 1",
    async () => {
      const full = await open("/dev/full", "w");
      try {
        const child = spawn(process.execPath, [bin, "tokenize", "--file", "corpus.txt", "--model", model], {
          cwd: folder,
          stdio: ["ignore", full.fd, "pipe"],
        });
        let said = "";
        child.stderr!.setEncoding("utf8").on("data", (text: string) => {
          said += text;
        });
        expect(await new Promise((resolve) => child.on("close", resolve))).toBe(1);
        expect(said).toBe("heddle: standard output: cannot be written: no space left on the disk\n");
      } finally {
        await full.close();
      }
    },
  );
});
