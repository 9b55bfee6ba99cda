// Multimodal Gemma 3 checkpoints: their language model loads under the names that transformers has used.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { openModelFiles, readModelConfig } from "../../lib/formats/model-files.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { saveWeights, writeSafetensors } from "../formats/write-weights.ts";
import { weightByName } from "../golden/by-name.ts";
import { familyGoldens, writeFamily } from "../golden/families.ts";

const golden = familyGoldens.find(({ name }) => name === "gemma3")!;

/** Writes a folder of the multimodal model around the golden language model. @param rename returns a weight's name in the checkpoint */
async function wholeFolder(rename: (name: string) => string, pictures: string): Promise<string> {
  const folder = join(temporaryFolder(), "whole");
  mkdirSync(folder);
  const { model_type: _, ...text } = golden.config;
  const config = {
    architectures: ["Gemma3ForConditionalGeneration"],
    boi_token_index: 58,
    eos_token_id: [1, 6],
    image_token_index: 60,
    mm_tokens_per_image: 4,
    model_type: "gemma3",
    text_config: { ...text, model_type: "gemma3_text" },
    torch_dtype: "float32",
    vision_config: { hidden_size: 8, model_type: "siglip_vision_model", num_hidden_layers: 1 },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const data = (name: string, from: string, shape: number[]): TensorData => ({
    name,
    dtype: "f32",
    shape,
    bytes: new Uint8Array(weightByName(from, shape, 0).buffer),
  });
  const own = Object.entries(golden.weights).map(([name, shape]) => data(rename(name), name, shape));
  const others = ["vision_tower.vision_model.post_layernorm.weight", "multi_modal_projector.mm_soft_emb_norm.weight"];
  await saveWeights(folder, [...own, ...others.map((name) => data(`${pictures}${name}`, name, [8]))]);
  return folder;
}

describe("a multimodal Gemma 3 checkpoint", () => {
  test.each<[string, (name: string) => string, string]>([
    ["checkpoints as published", (name) => `language_model.${name}`, ""],
    ["checkpoints of transformers from 4.52 on", (name) => name.replace(/^model\./, "model.language_model."), "model."],
    ["checkpoints of the model without a head", (name) => name.replace(/^model\./, "language_model."), ""],
  ])("has the logits of its language model: %s", async (_name, rename, pictures) => {
    const folder = await wholeFolder(rename, pictures);
    await using plain = await LanguageModel.load(await writeFamily(golden, join(temporaryFolder(), "plain")));
    await using whole = await LanguageModel.load(folder);
    expect(whole.config).toMatchObject({
      modelType: "gemma3_text",
      architectures: ["Gemma3ForCausalLM"],
      eosTokenIds: [1, 6],
      dtype: "f32",
    });
    expect(whole.model.weightNames).toEqual(plain.model.weightNames);
    expect(await whole.logits(golden.prompt)).toEqual(await plain.logits(golden.prompt));
    // Saved and converted, it is a text-only language model.
    const [saved, gguf] = [join(temporaryFolder(), "saved"), join(temporaryFolder(), "x.gguf")];
    await whole.save(saved);
    await convertModel(folder, gguf);
    expect((await readModelConfig(saved)).modelType).toBe("gemma3_text");
    for (const path of [saved, gguf]) {
      await using again = await LanguageModel.load(path);
      const logits = await again.logits(golden.prompt);
      for (const [i, row] of (await plain.logits(golden.prompt)).entries())
        for (const [j, value] of row.entries()) expect(logits[i]![j]).toBeCloseTo(value, 4);
    }
  });

  test("has the defaults of transformers' configuration class for missing keys of text_config", () => {
    const text = { hidden_size: 2560, intermediate_size: 10240, model_type: "gemma3_text", num_hidden_layers: 34 };
    const scaling = { rope_scaling: { factor: 8, rope_type: "linear" }, sliding_window: 1024 };
    const config = parseModelConfig(
      { model_type: "gemma3", text_config: { ...text, ...scaling }, vision_config: {}, torch_dtype: "bfloat16" },
      "config.json",
    );
    expect(config).toMatchObject({
      modelType: "gemma3_text",
      vocabSize: 262208,
      hiddenSize: 2560,
      numHiddenLayers: 34,
      numAttentionHeads: 8,
      numKeyValueHeads: 4,
      headDim: 256,
      queryPreAttnScalar: 256,
      maxPositionEmbeddings: 131072,
      slidingWindow: 1024,
      ropeTheta: 1e6,
      ropeLocalTheta: 1e4,
      tieWordEmbeddings: true,
      bosTokenId: 2,
      eosTokenIds: [1],
      padTokenId: 0,
      dtype: "bf16",
    });
    expect(config.layerTypes.slice(0, 6)).toEqual([...Array(5).fill("sliding_attention"), "full_attention"]);
  });

  test.each<[string, (name: string) => string]>([
    ["before transformers 4.52", (name) => `language_model.${name}`],
    ["of transformers from 4.52 on", (name) => name.replace(/^model\./, "model.language_model.")],
  ])("takes an adapter that PEFT trained on the whole model, with names %s", async (_name, rename) => {
    const path = await writeFamily(golden, join(temporaryFolder(), "base"));
    await using trained = await LanguageModel.load(path);
    const { layers } = await trained.model.addAdapter("mine", {
      r: 2,
      alpha: 3,
      targetModules: ["q_proj", "down_proj"],
    });
    for (const { b } of layers.values()) {
      const tensor = trained.model.weight(b);
      await tensor.write(new Float32Array(tensor.elements).fill(0.5));
    }
    const expected = await trained.logits(golden.prompt);
    const folder = join(temporaryFolder(), "adapter");
    await trained.saveAdapter(folder, { name: "mine" });
    const file = join(folder, "adapter_model.safetensors");
    const stored = await openWeights(file);
    const data = stored.names().map((name): TensorData => {
      const { shape, offset, bytes, file } = stored.tensor(name);
      const [, whole] = /^base_model\.model\.(.*)$/.exec(name)!;
      const copy = new Uint8Array(file.bytes(offset, bytes).slice(0));
      return { name: `base_model.model.${rename(whole!)}`, dtype: "f32", shape, bytes: copy };
    });
    stored.close();
    const picture = (letter: string, shape: number[]): TensorData => ({
      name: `base_model.model.model.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.lora_${letter}.weight`,
      dtype: "f32",
      shape,
      bytes: new Uint8Array(4 * shape[0]! * shape[1]!),
    });
    await writeSafetensors(file, [...data, picture("A", [2, 8]), picture("B", [8, 2])]);
    await using base = await LanguageModel.load(path);
    await base.loadAdapter(folder);
    expect(await base.logits(golden.prompt)).toEqual(expected);
  });

  test("has only the weights of its language model after opening", async () => {
    const folder = await wholeFolder((name) => `language_model.${name}`, "");
    const files = await openModelFiles(folder);
    const names = files.weights.names();
    files.close();
    expect(names.every((name) => /^model\.(embed_tokens|layers|norm)\./.test(name))).toBe(true);
  });
});
