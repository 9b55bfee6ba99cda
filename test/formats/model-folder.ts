// A small model folder with every optional file.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { temporaryFolder } from "./helpers.ts";
import { saveWeights } from "./write-weights.ts";

/**
 * Writes a model with a tokenizer, a model card and embedding files.
 * @param layered adds a layer after pooling, which GGUF cannot store
 */
export async function modelFolder(layered = false): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  const model = tinyModel({ tokenizer: await tinyTokenizer() }, { numHiddenLayers: 1, maxPositionEmbeddings: 32 });
  await model.save(folder);
  model.dispose();
  const json = { bos_token_id: 1, eos_token_id: [2, 3], temperature: 0.7, top_k: 40, top_p: 0.9, max_new_tokens: 20 };
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify(json));
  const card = {
    stage: "sft",
    parent: null,
    data: [{ name: "x", tokens: 3 }],
    tokensSeen: 3,
    trainingCutoffDate: "2024-06-30",
  };
  writeFileSync(join(folder, "model_card.json"), JSON.stringify(card));
  const write = (name: string, value: object) => writeFileSync(join(folder, name), JSON.stringify(value));
  const modules = ["Transformer", "Pooling", ...(layered ? ["Dense"] : [])].map((kind, idx) => ({
    idx,
    name: String(idx),
    path: idx ? `${idx}_${kind}` : "",
    type: `x.${kind}`,
  }));
  write("modules.json", modules);
  mkdirSync(join(folder, "1_Pooling"));
  write("1_Pooling/config.json", { pooling_mode_mean_tokens: true, include_prompt: false });
  mkdirSync(join(folder, "2_Dense"));
  const { hiddenSize } = model.config;
  write("2_Dense/config.json", { in_features: hiddenSize, out_features: 3, bias: false });
  const weight = { name: "linear.weight", dtype: "f32" as const, shape: [3, hiddenSize] };
  await saveWeights(join(folder, "2_Dense"), [{ ...weight, bytes: new Uint8Array(12 * hiddenSize) }]);
  const prompts = { query: "query: ", passage: "" };
  write("config_sentence_transformers.json", { prompts, default_prompt_name: "query", similarity_fn_name: "cosine" });
  write("sentence_bert_config.json", { max_seq_length: 20, do_lower_case: false });
  return folder;
}
