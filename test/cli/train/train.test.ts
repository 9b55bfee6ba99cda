// `heddle train`, tested by the built command in a separate process.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { cli } from "../../process/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-train-"));
  await using base = tinyModel({ tokenizer: await tinyTokenizer() });
  await base.save(join(folder, "base"));
  const rows = ["The cat sat.", "A dog ran.", "The sun is warm."].map((answer, i) => ({
    messages: [
      { role: "user", content: `Say ${i}.` },
      { role: "assistant", content: answer },
    ],
  }));
  await writeFile(join(folder, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** @param node options of Node itself */
function heddle(args: string[], node: string[] = []): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...node, cli, ...args], { cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: error ? ((error.code as unknown as number) ?? 1) : 0, stdout, stderr }),
    );
  });
}

async function config(name: string, content: object): Promise<string> {
  await writeFile(join(folder, name), JSON.stringify(content));
  return name;
}

describe("heddle train sft", () => {
  test("writes JSON lines and a model, accepts snake_case names, and continues with --resume", async () => {
    const options = {
      model: "base",
      data: ["rows.jsonl"],
      eval_data: "rows.jsonl",
      output_dir: join(folder, "out"),
      max_steps: 4,
      per_device_train_batch_size: 2,
      learning_rate: 1e-3,
      max_seq_length: 48,
      save_steps: 2,
      lora: { r: 2, target_modules: ["q_proj"] },
    };
    const { code, stdout, stderr } = await heddle([
      "train",
      "sft",
      "--config",
      await config("sft.json", options),
      "--json",
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.filter((l) => "loss" in l).map((l) => l.step)).toEqual([1, 2, 3, 4]);
    expect(lines[0]).toMatchObject({
      step: 1,
      maxSteps: 4,
      loss: expect.any(Number),
      learningRate: expect.any(Number),
      gradNorm: expect.any(Number),
      tokensPerSecond: expect.any(Number),
      tokensSeen: expect.any(Number),
    });
    expect(lines.at(-2)).toMatchObject({ step: 4, evalLoss: expect.any(Number) });
    expect(lines.at(-1)).toMatchObject({ done: true, steps: 4, path: join(folder, "out") });
    await using loaded = await LanguageModel.load(join(folder, "out"));
    expect([...loaded.model.adapters.keys()]).toEqual(["default"]);

    const more = await config("more.json", { ...options, max_steps: 6 });
    const resumed = await heddle(["train", "sft", "--config", more, "--json", "--resume"]);
    const steps = resumed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).step);
    expect(steps.filter((s) => s !== undefined)).toEqual([5, 6, 6]);
  });

  test("flags override the configuration, choose the metric of the best evaluation, and stop early", async () => {
    await writeFile(
      join(folder, "module.mjs"),
      `export default { model: "base", data: "rows.jsonl", maxSteps: 6, maxSeqLength: 48, evalSteps: 5, outputDir: "best",
        evaluate: ({ step, model }) => ({ score: model.tokenizer ? -step : 0 }) };`,
    );
    const best = ["--eval-steps", "1", "--load-best-model-at-end", "--metric-for-best-model", "score"];
    const flags = [...best, "--early-stopping-patience", "3"];
    const { code, stdout, stderr } = await heddle(["train", "sft", "--config", "module.mjs", "--json", ...flags]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const last = JSON.parse(stdout.trim().split("\n").at(-1)!);
    expect(last).toMatchObject({ done: true, steps: 4, bestStep: 1, evalMetrics: { score: -1 } });
    const wrong = await heddle([
      "train",
      "sft",
      "--config",
      "module.mjs",
      ...flags.slice(0, 3),
      "--overwrite-output-dir",
      "--metric-for-best-model",
      "s",
    ]);
    expect(wrong).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--metric-for-best-model: expected one of score"),
    });
  });

  test("initializing a new model shows progress on a terminal, and prints nothing elsewhere", async () => {
    await (await tinyTokenizer()).save(join(folder, "tokenizer"));
    await writeFile(join(folder, "text.txt"), "The cat sat. A dog ran. ".repeat(40));
    const file = await config("new.json", {
      model: { model_type: "llama", hidden_size: 256, num_hidden_layers: 2 },
      tokenizer: "tokenizer",
      data: "text.txt",
      max_steps: 1,
      max_seq_length: 16,
      per_device_train_batch_size: 1,
    });
    const args = ["train", "pretrain", "--config", file];
    const terminal = "data:text/javascript,process.stderr.isTTY = true; process.env.TERM = 'xterm';";
    const shown = await heddle(args, ["--import", terminal]);
    expect(shown.code).toBe(0);
    expect(shown.stderr).toMatch(
      /░ \d+ % {2}of [\d.]+ million weights initialized\r.*█ 100 % {2}of [\d.]+ million weights initialized\n/s,
    );
    expect(shown.stderr.indexOf("100 %")).toBeLessThan(shown.stderr.indexOf("1/1  loss"));
    expect((await heddle(args)).stderr).not.toContain("initialized");
  });

  test("console output of a module's functions is on stderr with --json", async () => {
    await writeFile(
      join(folder, "noisy.mjs"),
      `console.log("loaded");
      export default { model: "base", data: "rows.jsonl", maxSteps: 1, maxSeqLength: 48, evalSteps: 1, outputDir: "noisy",
        evaluate: () => { console.info("info"); console.debug("debug"); console.table(["table"]); console.dir("dir"); return { score: 1 }; } };`,
    );
    const { code, stdout, stderr } = await heddle(["train", "sft", "--config", "noisy.mjs", "--json"]);
    expect(code).toBe(0);
    for (const line of stdout.trim().split("\n")) expect(JSON.parse(line)).toBeTypeOf("object");
    for (const word of ["loaded", "info", "debug", "table", "dir"]) expect(stderr).toContain(word);
  });

  test("bad input exits with code 2 and one line that names file and line", async () => {
    await writeFile(join(folder, "bad.jsonl"), '{"messages":[{"role":"user","content":"a"},{"content":"b"}]}\n');
    const file = await config("bad.json", { model: "base", data: "bad.jsonl", maxSteps: 1, outputDir: "bad" });
    const { code, stdout, stderr } = await heddle(["train", "sft", "--config", file, "--json"]);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toContain("bad.jsonl:1: messages[1].role: expected a role such as user, got nothing");
  });
});
