// Saving over another model leaves the same files as saving to an empty folder, plus files that do not belong to a model.
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { createModel, sft } from "../../lib/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { sentences, tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { temporaryFolder } from "./helpers.ts";

/** A folder of another model with every file that a reader may take as part of a model. */
const other = temporaryFolder();
const models = temporaryFolder();

const json = (value: unknown) => JSON.stringify(value);
const KEPT = ["README.md", "notes/plan.txt", "additional_chat_templates/notes.txt"];

beforeAll(async () => {
  const tokenizer = await tinyTokenizer();
  await using embedder = createModel(
    {
      modelType: "bert",
      hiddenSize: 16,
      numHiddenLayers: 1,
      numAttentionHeads: 2,
      embedding: {
        pooling: "mean",
        normalize: true,
        layers: [{ type: "dense", outFeatures: 8, bias: true, activation: "tanh" }],
      },
    },
    { tokenizer, seed: 1 },
  );
  await embedder.save(other);
  const texts: Record<string, string> = {
    "chat_template.jinja": "OTHER {{ messages[0].content }}",
    "additional_chat_templates/tool.jinja": "OTHER TOOL",
    "generation_config.json": json({ eos_token_id: 5, temperature: 0.123 }),
    "model_card.json": json({ stage: "sft", notes: "OTHER" }),
    "special_tokens_map.json": json({ pad_token: "the" }),
    "added_tokens.json": json({}),
    "tokenizer.model": "OTHER",
    "vocab.txt": "OTHER",
    "merges.txt": "OTHER",
    "sentence_roberta_config.json": json({ max_seq_length: 3 }),
    "2_Dense/pytorch_model.bin": "OTHER",
    "adapter_config.json": json({ peft_type: "LORA", base_model_name_or_path: "nowhere" }),
    "adapter_model.safetensors": "OTHER",
    "head_config.json": json({}),
    ...Object.fromEntries(KEPT.map((name) => [name, "KEPT"])),
  };
  for (const [name, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(other, name)), { recursive: true });
    writeFileSync(join(other, name), text);
  }
  await using plain = tinyModel({ tokenizer, seed: 2 });
  await plain.save(join(models, "plain"));
  await convertModel(join(models, "plain"), join(models, "plain.gguf"));
});

/** The files of a folder and its subfolders, except those that only a training run writes. */
function filesIn(folder: string): string[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => statSync(join(folder, name)).isFile())
    .filter((name) => !/^checkpoint-|\.jsonl$|^trainer_state/.test(name))
    .sort();
}

describe("a folder that held another model", () => {
  // `replaced` matches the files of the other model that the action replaces or removes; by default it replaces all.
  const cases: [string, (folder: string) => Promise<unknown>, replaced?: RegExp][] = [
    [
      "saving a model",
      async (folder) => {
        await using model = await LanguageModel.load(join(models, "plain"));
        await model.save(folder);
      },
    ],
    [
      "saving a model without a tokenizer",
      async (folder) => {
        await using model = tinyModel();
        await model.save(folder);
      },
    ],
    ["converting a folder", (folder) => convertModel(join(models, "plain"), folder)],
    ["converting a GGUF file", (folder) => convertModel(join(models, "plain.gguf"), folder)],
    [
      "training a model",
      async (folder) => {
        await using model = await LanguageModel.load(join(models, "plain"));
        const data = sentences.map((text) => ({ text }));
        await sft(model, { data, maxSteps: 1, maxSeqLength: 16, outputDir: folder, overwriteOutputDir: true });
      },
    ],
    [
      "saving a tokenizer",
      async (folder) => (await tinyTokenizer()).save(folder),
      /^(vocab|merges|tokenizer|special|added|chat_template|additional_chat_templates\/tool)/,
    ],
  ];

  test.each(cases)("has, after %s, the files of a fresh save plus unrelated files", async (_, save, replaced) => {
    const [empty, used] = [join(temporaryFolder(), "empty"), join(temporaryFolder(), "used")];
    cpSync(other, used, { recursive: true });
    await save(empty);
    await save(used);
    const expected = [...filesIn(empty), ...KEPT];
    if (replaced) expected.push(...filesIn(other).filter((name) => !replaced.test(name)));
    expect(filesIn(used)).toEqual([...new Set(expected)].sort());
    for (const name of filesIn(empty)) {
      if (/model_card|^model\.safetensors/.test(name)) continue; // a card contains the time, and weights are not compared
      expect(readFileSync(join(used, name)), name).toEqual(readFileSync(join(empty, name)));
    }
    for (const name of KEPT) expect(readFileSync(join(used, name), "utf8")).toBe("KEPT");
  });

  test("loads as the model saved last", async () => {
    const folder = join(temporaryFolder(), "used");
    cpSync(other, folder, { recursive: true });
    await convertModel(join(models, "plain"), folder);
    await using model = await LanguageModel.load(folder);
    expect(model.config.modelType).toBe("llama");
    expect(model.config.embedding).toBeUndefined();
    expect(model.generation).toEqual({});
    expect(model.card).toBeUndefined();
    expect(model.tokenizer!.config.chatTemplates).toEqual((await tinyTokenizer()).config.chatTemplates);
    expect((await Tokenizer.load(folder)).config.padToken).toBe((await tinyTokenizer()).config.padToken);
  });

  test("keeps a tokenizer that was saved separately", async () => {
    const folder = join(temporaryFolder(), "own");
    await (await tinyTokenizer()).save(folder);
    await using model = tinyModel();
    await model.save(folder);
    await using loaded = await LanguageModel.load(folder);
    expect(loaded.tokenizer!.vocabSize).toBe(320);
  });

  test("does not keep the heads of a replaced adapter", async () => {
    const folder = join(temporaryFolder(), "adapter");
    await using model = tinyModel();
    await model.model.addAdapter("a", { r: 2, targetModules: ["q_proj"] });
    await model.saveAdapter(folder, { name: "a" });
    writeFileSync(join(folder, "head_config.json"), json({}));
    await model.saveAdapter(folder, { name: "a" });
    expect(filesIn(folder)).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
  });
});
