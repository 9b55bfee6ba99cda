// Errors of `heddle train` for invalid configurations. They use the names in the file, and are reported before a model is loaded.
import { existsSync } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { folder, heddle, json, refused, start } from "../tiny.ts";

const common = { model: "model", max_steps: 2, per_device_train_batch_size: 1, max_seq_length: 16 };
const rows = [{ prompt: "The cat", completion: " sat." }];

async function configured(options: object) {
  await writeFile(join(folder, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ ...common, data: "rows.jsonl", output_dir: "out", ...options }),
  );
}

async function refusal(stage: string, options: object, ...flags: string[]): Promise<string> {
  await configured(options);
  return refused(["train", stage, "--config", "config.json", ...flags]);
}

describe("an unknown name", () => {
  test.each([
    [{ lr: 1 }, "sft.lr: expected a known option (nearest: learningRate), got an unknown one"],
    [
      { batch_size: 1 },
      "sft.batch_size: expected a known option (nearest: perDeviceTrainBatchSize), got an unknown one",
    ],
    [{ epochs: 1 }, "sft.epochs: expected a known option (nearest: numTrainEpochs), got an unknown one"],
    [{ max_step: 1 }, "sft.max_step: expected a known option (nearest: maxSteps), got an unknown one"],
    [
      { model_name_or_path: "x" },
      "sft.model_name_or_path: expected a known option (nearest: model), got an unknown one",
    ],
    [
      { target_modules: ["q_proj"] },
      "sft.target_modules: expected a known option (nearest: lora.targetModules), got an unknown one",
    ],
    [{ lora: { rank: 4 } }, "lora.rank: expected a known option (nearest: r), got an unknown one"],
    [{ lora: { lora_rank: 4 } }, "lora.lora_rank: expected a known option (nearest: r), got an unknown one"],
    [
      { replay: { data: "rows.jsonl", max_len: 4 } },
      "sft.replay.max_len: expected a known option (nearest: maxSeqLength), got an unknown one",
    ],
    [
      {
        parameter_groups: [
          { match: "bias", weight_decay: 0 },
          { match: "lm_head", lr_scale: 2 },
        ],
      },
      "sft.parameterGroups.1.lr_scale: expected a known option (nearest: learningRateRatio), got an unknown one",
    ],
    [{ param_groups: [] }, "sft.param_groups: expected a known option (nearest: parameterGroups), got an unknown one"],
  ])("%o is reported with the nearest known one", async (options, message) => {
    expect(await refusal("sft", options)).toBe(`heddle: ${message}\n`);
  });

  test("is rejected before a model is loaded; a stage without epochs suggests maxSteps", async () => {
    expect(await refusal("pretrain", { model: "nowhere", epochs: 3 })).toContain(
      "expected a known option (nearest: maxSteps)",
    );
  });
});

describe("a configuration file's key on the command line", () => {
  test.each([
    ["sft", "--lr", "learningRate"],
    ["sft", "--learning-rate", "learningRate"],
    ["sft", "--learning_rate=3", "learningRate"],
    ["sft", "--save-steps", "saveSteps"],
    ["pretrain", "--epochs", "maxSteps"],
    ["sft", "--lora-rank", "lora.r"],
    ["dpo", "--bta", "beta"],
    ["sft", "--tokenizer", "tokenizer"],
  ])("%s %s is rejected, and the message names the key", async (stage, option, key) => {
    const message = await refusal(stage, {}, option, "3");
    expect(message).toBe(
      `heddle: ${option.replace(/=.*/, "")}: expected ${key} in the --config file, got a command-line option\n`,
    );
  });
});

test("a misspelt flag of the command is reported with the nearest flag", async () => {
  expect(await refusal("sft", {}, "--resum")).toContain("--resum: expected a known option (nearest: --resume)");
  expect(await refusal("sft", {}, "--eval-step", "3")).toContain("nearest: --eval-steps");
  expect(await refusal("sft", {}, "--zzzzzzzzzzzz")).toContain("expected one of --json");
});

describe("an invalid value", () => {
  test.each([
    [{ learning_rate: -1 }, "learning_rate: expected a number above 0, got -1"],
    [{ learningRate: -1 }, "learningRate: expected a number above 0, got -1"],
    [{ eval_steps: -1 }, "eval_steps: expected a whole number of at least 1, got -1"],
    [{ evalSteps: -1 }, "evalSteps: expected a whole number of at least 1, got -1"],
    [{ lora: { lora_alpha: -1 } }, "lora.lora_alpha: expected a number above 0, got -1"],
    [{ lora: { lora_dropout: 1 } }, "lora.lora_dropout: expected a number from 0 to below 1, got 1"],
    [{ lora: { alpha: 1, lora_alpha: 2 } }, "lora.lora_alpha: cannot be combined with lora.alpha"],
    [{ lora: { lora_alpha: 2, alpha: 1 } }, "lora.alpha: cannot be combined with lora.lora_alpha"],
    [
      { parameter_groups: [{ match: "lm_head", weight_decay: -1 }] },
      "parameter_groups.0.weight_decay: expected a number of at least 0, got -1",
    ],
    [
      { parameter_groups: [{ match: "lm_haed", freeze: true }] },
      "parameter_groups.0.match: expected names of parameters that the run trains (nearest: lm_head), got lm_haed, which no parameter has",
    ],
    [{ maxSeqLength: 8 }, "maxSeqLength: expected once, got max_seq_length as well"],
    [{ max_seq_length: 4096 }, "max_seq_length: expected at most the model's 128 positions, got 4096"],
  ])("%o is reported under the name that the file uses", async (options, message) => {
    expect(await refusal("sft", options)).toBe(`heddle: ${message}\n`);
  });

  test("is reported under the flag's name if the flag was given", async () => {
    expect(await refusal("sft", { eval_steps: 1 }, "--eval-steps", "-1")).toMatch(/^heddle: --eval-steps: expected/);
  });

  test("is reported for a new model's configuration", async () => {
    const model = { model_type: "llama", hidden_size: 32, num_hidden_layers: 0 };
    expect(await refusal("pretrain", { model, tokenizer: "model" })).toContain(
      "model configuration: num_hidden_layers: expected a whole number",
    );
  });
});

test("a text as the data of pre-training is reported as a missing path", async () => {
  expect(await refusal("pretrain", { data: ["hello world"] })).toMatch(
    /^heddle: data: expected paths of files \(text, .*\), got "hello world", which does not exist\n$/,
  );
  expect(await refusal("pretrain", { data: "corpus.txt", eval_data: `long ${"text ".repeat(900)}` })).toMatch(
    /^heddle: eval_data: expected paths of files \(.*which does not exist\n$/,
  );
});

test("without outputDir, train warns that nothing is saved, and --resume is rejected", async () => {
  await configured({ output_dir: undefined, max_steps: 1 });
  const { code, stdout, stderr } = await heddle(["train", "sft", "--config", "config.json", "--json"]);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: "outputDir is not set: the trained model will not be saved\n",
  });
  expect(JSON.parse(stdout.trimEnd().split("\n").at(-1)!)).toMatchObject({ done: true });
  expect(await refused(["train", "sft", "--config", "config.json", "--resume"])).toMatch(
    /^heddle: outputDir: expected the folder to resume from, got none\n$/,
  );
});

describe("a used folder", () => {
  test("train rejects it before a model is loaded, and accepts it with --resume or --overwrite-output-dir", async () => {
    await configured({ output_dir: "used" });
    await json(["train", "sft", "--config", "config.json"]);
    const train = ["train", "sft", "--config", "config.json"];
    await configured({ output_dir: "used", model: "absent" });
    expect(await refused(train)).toBe(
      'heddle: output_dir: expected a folder without a run or a model, got used, which holds a checkpoint (newest: checkpoint-2), a model (config.json) and the log of a run (log.jsonl); resume: "auto" (--resume) continues that run; overwriteOutputDir: true (--overwrite-output-dir) replaces it\n',
    );
    await configured({ output_dir: "used", max_steps: 3 });
    expect((await json([...train, "--resume"])).at(-1)).toMatchObject({ done: true, steps: 3 });
    expect(await refused([...train, "--resume", "--overwrite-output-dir"])).toBe(
      'heddle: --overwrite-output-dir: cannot be combined with resume: "auto"\n',
    );
    await configured({ output_dir: "used", max_steps: 1 });
    expect((await json([...train, "--overwrite-output-dir"])).at(-1)).toMatchObject({ done: true, steps: 1 });
    const left = (await readdir(join(folder, "used"))).filter((name) => name.startsWith("checkpoint-"));
    expect(left).toEqual(["checkpoint-1"]);
    await configured({ output_dir: "used", max_steps: 2, overwrite_output_dir: true });
    expect((await json(train)).at(-1)).toMatchObject({ done: true, steps: 2 });
  });

  test("tokenizer train replaces a tokenizer only if asked to", async () => {
    const train = ["tokenizer", "train", "corpus.txt", "--vocab-size", "270", "--out", "words"];
    await json(train);
    expect(await refused(train)).toBe(
      "heddle: --out: expected a folder without a tokenizer, got words with tokenizer.json; choose another folder, or use --overwrite-output-dir\n",
    );
    expect((await json([...train, "--overwrite-output-dir"])).at(-1)).toMatchObject({ vocabSize: 270 });
  });
});

test("LoRA options may have PEFT's names", async () => {
  await configured({ lora: { r: 2, lora_alpha: 6, lora_dropout: 0.1 }, output_dir: "peft" });
  await json(["train", "sft", "--config", "config.json"]);
  const [info] = await json(["info", "--model", "peft"]);
  expect(info!.adapter).toMatchObject({ r: 2, alpha: 6 });
  const { stdout } = await heddle(["train", "sft", "--config", "config.json", "--overwrite-output-dir"]);
  expect(stdout).toMatch(/ The adapter is in peft\.\n$/);
});

test("parameter groups in a file may have patterns between slashes", async () => {
  const parameter_groups = [
    { match: "/layers\\.[0-9]\\./", freeze: true },
    { match: ["embed_tokens", "norm"], learning_rate_ratio: 0.5, weight_decay: 0 },
  ];
  await configured({ parameter_groups, output_dir: "groups", learning_rate: 0.01, lr_scheduler: "constant" });
  await json(["train", "sft", "--config", "config.json"]);
  const [before, after] = [
    await LanguageModel.load(join(folder, "model")),
    await LanguageModel.load(join(folder, "groups")),
  ];
  for (const name of before.model.weightNames) {
    const [was, is] = [await before.model.weight(name).toFloat32(), await after.model.weight(name).toFloat32()];
    if (name.includes("layers")) expect(is, name).toEqual(was);
    else expect(is, name).not.toEqual(was);
  }
  for (const model of [before, after]) await model.dispose();
  await configured({ parameter_groups: parameter_groups.slice(1), output_dir: "groups", max_steps: 3 });
  expect(await refused(["train", "sft", "--config", "config.json", "--resume"])).toContain(
    "resume: expected the parameterGroups of the resumed run (/layers\\.[0-9]\\./: 18 parameters, freeze true;",
  );
});

describe.runIf(process.platform !== "win32")("a signal", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s ends with code %d, and the message names the checkpoint for --resume", async (signal, expected) => {
    const output_dir = `stopped-${signal}`;
    await configured({ max_steps: 100_000, output_dir });
    const child = start(["train", "sft", "--config", "config.json", "--json"]);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout.once("data", () => child.kill(signal));
    const code = await new Promise((resolve) => child.on("close", resolve));
    const [saved] = (await readdir(join(folder, output_dir))).filter((name) => name.startsWith("checkpoint-"));
    expect({ code, stderr }).toEqual({
      code: expected,
      stderr: `heddle: train: stopped by a signal; use --resume to continue from ${join(output_dir, saved!)}\n`,
    });
    const step = Number(saved!.slice("checkpoint-".length));
    await configured({ max_steps: step + 1, output_dir });
    const resumed = await json(["train", "sft", "--config", "config.json", "--resume"]);
    expect(resumed.filter((line) => "loss" in line).map((line) => line.step)).toEqual([step + 1]);
  });

  test("a signal before the first step stops the run, and the message says that nothing is saved", async () => {
    await writeFile(
      join(folder, "slow.mjs"),
      `export default { ...${JSON.stringify(common)}, output_dir: "unbegun", max_steps: 2, data: {
        async *[Symbol.asyncIterator]() {
          process.kill(process.pid, "SIGTERM");
          for (let i = 0; i < 1000; i++) { await new Promise((go) => setTimeout(go, 5)); yield ${JSON.stringify(rows[0])}; }
        } } };`,
    );
    const { code, stderr } = await heddle(["train", "sft", "--config", "slow.mjs"]);
    expect({ code, stderr }).toEqual({
      code: 143,
      stderr: "heddle: train: stopped by a signal; nothing was saved because the first step was not complete\n",
    });
    expect(existsSync(join(folder, "unbegun", "config.json"))).toBe(false);
  });
});
