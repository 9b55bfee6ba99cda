import { describe, expect, test } from "vitest";
import { nearest } from "../../../lib/core/nearest-name.ts";
import { loraOptions } from "../../../lib/models/adapters/lora.ts";
import { infoOf } from "../../../lib/train/options/option.ts";
import { meantOption, namesIn } from "../../../lib/train/options/option-names.ts";
import { parseOptions } from "../../../lib/train/options/parse-options.ts";
import { WrittenNames } from "../../../lib/train/options/written-names.ts";
import { pretrainSchema } from "../../../lib/train/stages/pretrain.ts";
import { sftSchema } from "../../../lib/train/stages/sft.ts";
import { stageSchemas } from "./stage-schemas.ts";

const sft = namesIn(sftSchema.shape);
const inLora = namesIn(infoOf(sftSchema.shape.lora).inner!);

describe("the option that an unknown name means", () => {
  test.each([
    ["lr", "learningRate"],
    ["learning_rate", "learningRate"],
    ["LearningRate", "learningRate"],
    ["learnigRate", "learningRate"],
    ["batchSize", "perDeviceTrainBatchSize"],
    ["batch_size", "perDeviceTrainBatchSize"],
    ["epochs", "numTrainEpochs"],
    ["steps", "maxSteps"],
    ["lr_scheduler_type", "lrScheduler"],
    ["resume_from_checkpoint", "resume"],
    ["dataset", "data"],
    ["rank", "lora.r"],
    ["r", "lora.r"],
    ["lora_alpha", "lora.alpha"],
    ["dropout", "lora.dropout"],
    ["targetModules", "lora.targetModules"],
    ["qx", undefined],
    ["somethingElseAltogether", undefined],
  ])("is found among sft's options, if there is one: %s", (name, meant) => {
    expect(meantOption(name, sft)).toBe(meant);
  });

  test("is found inside lora, and in a stage without epochs", () => {
    for (const [name, meant] of [
      ["rank", "r"],
      ["lora_r", "r"],
      ["drop", undefined],
      ["lr", undefined],
      ["target_modules", "targetModules"],
    ] as const)
      expect(meantOption(name, inLora)).toBe(meant);
    expect(meantOption("epochs", namesIn(pretrainSchema.shape))).toBe("maxSteps");
  });

  test("is unique: no alias leads to two options, and aliases consist of lowercase letters and digits", () => {
    const twice: string[] = [];
    for (const { shape } of stageSchemas) {
      const seen = new Map<string, string>();
      for (const [name, aliases] of namesIn(shape)) {
        if (name.includes(".")) continue;
        for (const alias of aliases) {
          if (seen.has(alias)) twice.push(`${alias}: ${seen.get(alias)}, ${name}`);
          seen.set(alias, name);
          expect(alias).toMatch(/^[a-z0-9]+$/);
        }
      }
    }
    expect(twice).toEqual([]);
  });
});

test("short names match only names one edit away", () => {
  expect(nearest("lr", ["lora", "r"])).toBe("r");
  expect(nearest("lr", ["lora"])).toBeUndefined();
  expect(nearest("bta", ["beta", "data"])).toBe("beta");
  expect(nearest("abc", ["axy"])).toBeUndefined();
  expect(nearest("trian", ["train"])).toBe("train");
});

describe("lora", () => {
  test("accepts PEFT's names in both spellings", () => {
    expect(loraOptions({ r: 4, lora_alpha: 8, lora_dropout: 0.5 })).toEqual({ r: 4, alpha: 8, dropout: 0.5 });
    expect(loraOptions({ loraAlpha: 8 } as object)).toEqual({ alpha: 8 });
    expect(loraOptions({ alpha: undefined, lora_alpha: 8 })).toEqual({ alpha: 8 });
    const parsed = parseOptions(sftSchema, { data: "rows.jsonl", lora: { lora_alpha: 3 } }, "sft");
    expect(parsed.lora).toEqual({ alpha: 3 });
  });

  test("reports options by the names that the caller used", () => {
    expect(() => loraOptions({ lora_alpha: 0 })).toThrow(/^lora\.lora_alpha: expected a number above 0, got 0$/);
    expect(() => loraOptions({ alpha: 0 })).toThrow(/^lora\.alpha: expected a number above 0, got 0$/);
    expect(() => loraOptions({ dropout: 0, lora_dropout: 0 })).toThrow(
      /^lora\.lora_dropout: cannot be combined with lora\.dropout$/,
    );
    expect(() => parseOptions(sftSchema, { data: "rows.jsonl", lora: { rank: 4 } }, "sft")).toThrow(
      /^lora\.rank: expected a known option \(nearest: r\), got an unknown one$/,
    );
    expect(() => loraOptions(3 as never)).toThrow(/^lora: expected an object of LoRA options, got 3$/);
  });
});

test("WrittenNames rewrites a message with a configuration file's names", () => {
  const written = new WrittenNames();
  written.add("learningRate", "learning_rate");
  written.add("lora.loraAlpha", "lora_alpha");
  written.add("maxStep", "max_step");
  written.add("model.hiddenSise", "hidden_sise");
  for (const [message, expected] of [
    ["learningRate: expected a number", "learning_rate: expected a number"],
    ["learningRates: expected a number", "learningRates: expected a number"],
    ["lora.loraAlpha: cannot be combined", "lora.lora_alpha: cannot be combined"],
    ["lora.alpha: expected a number", "lora.alpha: expected a number"],
    ["lora.alpha: cannot be combined with lora.loraAlpha", "lora.alpha: cannot be combined with lora.lora_alpha"],
    [
      "sft.maxStep: expected a known option (nearest: maxSteps), got an unknown one",
      "sft.max_step: expected a known option (nearest: maxSteps), got an unknown one",
    ],
    ["model configuration: hiddenSise: expected", "model configuration: hidden_sise: expected"],
    ["hiddenSise: expected a known key", "hiddenSise: expected a known key"],
    ["rows.jsonl:3: learningRate", "rows.jsonl:3: learningRate"],
  ] as const)
    expect(written.inMessage(message)).toBe(expected);
});
