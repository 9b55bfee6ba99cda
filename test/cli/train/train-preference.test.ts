// `heddle train reward|dpo|kto|orpo|simpo|ppo|grpo`, tested by the built command in a separate process.
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";
import { cli } from "../../process/helpers.ts";
import { runCli } from "../run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-preference-"));
  await using base = tinyModel({ tokenizer: await tinyTokenizer() });
  await base.save(join(folder, "base"));
  const lines = (rows: object[]) => rows.map((row) => JSON.stringify(row)).join("\n");
  const prompts = ["The cat", "A dog", "The sun", "My boat"];
  await writeFile(
    join(folder, "pairs.jsonl"),
    lines(prompts.map((prompt) => ({ prompt, chosen: " sat.", rejected: " ran off." }))),
  );
  await writeFile(
    join(folder, "rated.jsonl"),
    lines(prompts.map((prompt, i) => ({ prompt, completion: " sat.", label: i % 2 === 0 }))),
  );
  await writeFile(join(folder, "prompts.jsonl"), lines(prompts.map((prompt, i) => ({ prompt, wanted: "aeio"[i] }))));
  await writeFile(
    join(folder, "rewards.ts"),
    `export async function letters({ completions, wanted }: { completions: string[]; wanted: string[] }): Promise<number[]> {
       return completions.map((text, i) => text.split(wanted[i]!).length - 1);
     }
     export const short = ({ completions }: { completions: string[] }) => completions.map((text) => -text.length);
     export const weights = "not a function";`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function train(stage: string, config: object, ...more: string[]) {
  const file = join(folder, `${stage}.json`);
  await writeFile(file, JSON.stringify(config));
  const args = [cli, "train", stage, "--config", file, "--json", ...more];
  return new Promise<{ code: number; lines: Record<string, unknown>[]; stderr: string }>((resolve) => {
    execFile(process.execPath, args, { cwd: folder }, (error, stdout, stderr) => {
      const lines = stdout.split("\n").flatMap((line) => (line.trim() === "" ? [] : [JSON.parse(line)]));
      resolve({ code: error ? ((error.code as unknown as number) ?? 1) : 0, lines, stderr });
    });
  });
}

const common = { model: "base", max_steps: 2, per_device_train_batch_size: 2, learning_rate: 1e-3 };

describe("heddle train", () => {
  test.each([
    ["reward", { data: "pairs.jsonl", eval_data: "pairs.jsonl", center_rewards_coefficient: 0.01 }, "rewardAccuracy"],
    ["dpo", { data: "pairs.jsonl", eval_data: "pairs.jsonl", loss_type: "ipo", ref_model: "base" }, "rewardMargin"],
    ["kto", { data: "rated.jsonl", eval_data: "rated.jsonl", desirable_weight: 2 }, "kl"],
    ["orpo", { data: ["pairs.jsonl"], eval_data: "pairs.jsonl", beta: 0.2 }, "logOdds"],
    ["simpo", { data: ["pairs.jsonl"], eval_data: "pairs.jsonl", gamma: 1 }, "rewardMargin"],
    ["ppo", { prompts: "prompts.jsonl", rewards: ["reward-out", "rewards.ts"], max_completion_length: 6 }, "klCoef"],
    [
      "grpo",
      { data: "prompts.jsonl", rewards: "rewards.ts", num_generations: 2, max_completion_length: 6 },
      "rewards/letters",
    ],
  ])("%s writes JSON lines with its metrics, and a model", async (stage, options, metric) => {
    const output_dir = join(folder, `${stage}-out`);
    const { code, lines, stderr } = await train(stage, { ...common, ...options, output_dir });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const steps = lines.filter((line) => "loss" in line);
    expect(steps.map(({ step }) => step)).toEqual([1, 2]);
    for (const { metrics } of steps) expect((metrics as Record<string, number>)[metric]).toEqual(expect.any(Number));
    expect(lines.some((line) => "evalLoss" in line)).toBe("eval_data" in options);
    expect(lines.at(-1)).toMatchObject({ done: true, steps: 2, path: output_dir });
    await using loaded = await LanguageModel.load(output_dir);
    expect(loaded.card).toMatchObject({ stage });
    const more = { ...common, ...options, output_dir, max_steps: 3 };
    const resumed = await train(stage, more, "--resume");
    expect(resumed.lines.filter((line) => "loss" in line).map(({ step }) => step)).toEqual([3]);
  });

  test("grpo prints sampled answers on stderr, and writes TensorBoard's files", async () => {
    const output_dir = join(folder, "logged-out");
    const config = { data: "prompts.jsonl", rewards: "rewards.ts", num_generations: 2, max_completion_length: 6 };
    const logged = { log_completions: true, num_completions_to_print: 1, report_to: "tensorboard" };
    const { code, lines, stderr } = await train("grpo", { ...common, ...config, ...logged, output_dir });
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^answers at step 1\n.*letters +short +reward +advantage +prompt +answer\n.*\nanswers at step 2\n/,
    );
    for (const line of lines) expect(line).not.toHaveProperty("completions");
    expect((await readFile(join(output_dir, "completions.jsonl"), "utf8")).trimEnd().split("\n")).toHaveLength(2);
    expect(await readdir(join(output_dir, "runs"))).toHaveLength(1);
    const refused = await train("grpo", { ...common, ...config, report_to: "wandb" });
    expect({ code: refused.code, stderr: refused.stderr }).toEqual({
      code: 2,
      stderr: 'heddle: report_to: expected "tensorboard" or "none", got "wandb"\n',
    });
  });

  test("kto replays the rows of sft; text output has the metrics too, and the card lists data once", async () => {
    const rows = ["cat", "dog", "sun"].map((thing) => ({ prompt: `The ${thing}`, completion: " sat." }));
    await writeFile(join(folder, "sft.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
    const said = async (stage: string, options: object) => {
      await writeFile(join(folder, `${stage}-text.json`), JSON.stringify({ ...common, ...options }));
      const { code, stdout, stderr } = await runCli(["train", stage, "--config", `${stage}-text.json`], {
        cwd: folder,
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return stdout;
    };
    expect(await said("sft", { data: "sft.jsonl", output_dir: "sft-text" })).toMatch(
      /^step 1 of 2: loss \d+\.\d{4}, learning rate 5\.00e-4, gradient norm \d+\.\d{3}, \d+ tokens\/s\n/,
    );
    const replay = { data: ["sft.jsonl"], stage: "sft", weight: 0.5, per_device_train_batch_size: 1 };
    const tuned = await said("kto", {
      model: "sft-text",
      data: "rated.jsonl",
      eval_data: "rated.jsonl",
      replay,
      output_dir: "kto-text",
    });
    const [step, , held] = tuned.split("\n");
    expect(step).toMatch(/, rewardChosen 0\.0000, .*, kl 0\.0000, replayLoss \d\.\d{4}, learning rate/);
    expect(held).toMatch(/^step 2: held-out loss \d\.\d{4} over 4 answers, rewardChosen/);
    await using loaded = await LanguageModel.load(join(folder, "kto-text"));
    expect(loaded.card!.stages!.map(({ stage }) => stage)).toEqual(["sft", "kto"]);
    expect(loaded.card!.data.map(({ name }) => name)).toEqual(["sft.jsonl", "rated.jsonl"]);
  });

  test("a configuration may be a module, with a custom loss and a custom evaluation", async () => {
    const example = fileURLToPath(new URL("../../../examples/custom-objective.ts", import.meta.url));
    expect((await readFile(example, "utf8")).trimEnd().split("\n").length).toBeLessThanOrEqual(30);
    await writeFile(
      join(folder, "own.ts"),
      `import { simpo } from ${JSON.stringify(example)};
       export default { ...${JSON.stringify(common)}, data: "pairs.jsonl", loss: simpo, evalSteps: 1,
         evaluate: async ({ model, step }) => ({ score: -step, words: (await model.complete("The cat", { maxTokens: 2 })).tokens.length }),
         loadBestModelAtEnd: true, metricForBestModel: "score", outputDir: "own-out" };`,
    );
    const { code, stdout, stderr } = await runCli(["train", "dpo", "--config", "own.ts"], { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/\nstep 1: score -1\.0000, words [12]\.0000\n/);
    expect(stdout).toContain("Best evaluation: step 1. The model is in own-out.");
  });

  test("bad input exits with code 2 and one line that states the problem", async () => {
    await writeFile(join(folder, "bad.jsonl"), '{"prompt":"a","chosen":"b"}\n');
    const refused = async (stage: string, options: object) => {
      const { code, lines, stderr } = await train(stage, { ...common, ...options, output_dir: "refused" });
      expect({ code, lines, messages: stderr.trim().split("\n").length }).toEqual({ code: 2, lines: [], messages: 1 });
      return stderr;
    };
    expect(await refused("dpo", { data: "bad.jsonl" })).toContain(
      "bad.jsonl:1: rejected: expected a text, like the prompt, got nothing",
    );
    expect(await refused("dpo", { data: "pairs.jsonl", bta: 1 })).toContain(
      "dpo.bta: expected a known option (nearest: beta)",
    );
    await writeFile(join(folder, "none.js"), "export const weights = 1;");
    const noReward = { prompts: "prompts.jsonl", num_generations: 2 };
    expect(await refused("grpo", { ...noReward, rewards: "none.js" })).toContain(
      "expected a module that exports reward functions, got weights",
    );
    expect(await refused("grpo", { ...noReward, rewards: "missing.ts" })).toContain(
      "missing.ts: expected a module, got no such file",
    );
    expect(await refused("grpo", { ...noReward, rewards: "base" })).toContain("rewards: expected a reward model");
    expect(await refused("grpo", noReward)).toContain("rewards: expected an array of functions and reward models");
  });
});
