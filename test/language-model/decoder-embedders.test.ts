// Causal decoders that embed and rank, loaded from published layouts: Qwen3-Embedding, E5-Mistral and Qwen3-Reranker.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { createModel, LanguageModel } from "../../lib/language-model/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { json, module, unit } from "../formats/sentence-transformers/embedding-folders.ts";
import { maxError } from "../models/encoder-goldens.ts";
import { added, byteLevelJson, fromJson, sentencePieceJson } from "../tokenizer/samples.ts";

const INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
const texts = ["What is the capital of China?", "The capital of China is Beijing.", "x"];

/** Ids 0 to 255 are bytes. */
const [EOT, IM_START, IM_END] = [256, 257, 258];
const qwen = byteLevelJson([], {
  added_tokens: [added(EOT, "<|endoftext|>"), added(IM_START, "<|im_start|>"), added(IM_END, "<|im_end|>")],
  post_processor: {
    type: "Sequence",
    processors: [
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
      {
        type: "TemplateProcessing",
        single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "<|endoftext|>", type_id: 0 } }],
        pair: [
          { Sequence: { id: "A", type_id: 0 } },
          { SpecialToken: { id: "<|endoftext|>", type_id: 0 } },
          { Sequence: { id: "B", type_id: 1 } },
          { SpecialToken: { id: "<|endoftext|>", type_id: 1 } },
        ],
        special_tokens: { "<|endoftext|>": { id: "<|endoftext|>", ids: [EOT], tokens: ["<|endoftext|>"] } },
      },
    ],
  },
});
const qwenConfig = {
  add_bos_token: false,
  tokenizer_class: "Qwen2Tokenizer",
  eos_token: "<|im_end|>",
  pad_token: "<|endoftext|>",
  padding_side: "left",
};
const sizes = { hiddenSize: 32, intermediateSize: 48, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2 };

/** Writes a sentence-transformers folder with last-token pooling and this tokenizer. */
async function folderOf(
  config: { modelType: string; [key: string]: unknown },
  tokenizer: { file: object; config: object },
  prompts: Record<string, string>,
) {
  const folder = temporaryFolder();
  mkdirSync(folder, { recursive: true });
  await using model = createModel(
    { ...sizes, vocabSize: 320, maxPositionEmbeddings: 256, initializerRange: 0.3, ...config },
    { seed: 5 },
  );
  await model.save(folder);
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer.file));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(tokenizer.config));
  json(folder, "modules.json", [
    module("Transformer", "", 0),
    module("Pooling", "1_Pooling", 1),
    module("Normalize", "2_Normalize", 2),
  ]);
  const flags = { pooling_mode_cls_token: false, pooling_mode_mean_tokens: false, pooling_mode_lasttoken: true };
  json(folder, "1_Pooling/config.json", { word_embedding_dimension: 32, ...flags, include_prompt: true });
  json(folder, "config_sentence_transformers.json", {
    prompts,
    default_prompt_name: null,
    similarity_fn_name: "cosine",
  });
  return folder;
}

/** Returns the last token's hidden state, normalized to length 1. */
async function lastOf({ model }: LanguageModel, ids: number[]): Promise<number[]> {
  const [rows] = await pooledOutputs(model, [ids], { pooling: "all", contextLength: 256 });
  return unit([...rows!.subarray(-32)]);
}

/** Checks that each text embeds as its `ids` do, alone and in a batch, from the folder and from saved and converted copies. */
async function check(folder: string, promptName: string, ids: (text: string, prompt: string) => number[]) {
  const [saved, file] = [temporaryFolder(), join(temporaryFolder(), "m.gguf")];
  await using model = await LanguageModel.load(folder);
  await model.save(saved);
  await convertModel(folder, file, { dtype: "f32" });
  const prompt = model.config.embedding!.prompts![promptName]!;
  for (const path of [folder, saved, file]) {
    await using loaded = await LanguageModel.load(path);
    const [plain, asked] = [await loaded.embed(texts), await loaded.embed(texts, { promptName })];
    for (const [i, text] of texts.entries()) {
      expect(maxError(plain[i]!, await lastOf(model, ids(text, "")))).toBeLessThan(1e-5);
      expect(maxError(asked[i]!, await lastOf(model, ids(text, prompt)))).toBeLessThan(1e-5);
      expect(maxError(await loaded.embed(text, { promptName }), [...asked[i]!])).toBeLessThan(1e-5);
    }
  }
}

const bytes = (text: string) => [...Buffer.from(text)];

test("Qwen3-Embedding: prepends instructions, appends <|endoftext|> and pools its hidden state", async () => {
  const prompts = { query: INSTRUCTION, document: "" };
  const folder = await folderOf(
    { modelType: "qwen3", tieWordEmbeddings: true },
    { file: qwen, config: qwenConfig },
    prompts,
  );
  await check(folder, "query", (text, prompt) => [...bytes(prompt + text), EOT]);
  const path = join(temporaryFolder(), "m.gguf");
  await convertModel(folder, path);
  const { file, metadata } = await openGguf(path);
  file.close();
  // llama.cpp appends the token of the key `eos_token_id` to texts, so the key does not hold the end-of-turn token.
  const said = ["add_eos_token", "eos_token_id", "eot_token_id"].map(
    (key) => metadata.values.get(`tokenizer.ggml.${key}`)?.value,
  );
  expect(said).toEqual([true, EOT, IM_END]);
  await using model = await LanguageModel.load(folder);
  // Truncation keeps the end token.
  model.model.setEmbedding({ ...model.config.embedding!, maxSeqLength: 10 });
  const cut = await model.embed(texts[0]!, { truncation: true });
  expect(maxError(cut, await lastOf(model, [...bytes(texts[0]!).slice(0, 9), EOT]))).toBeLessThan(1e-5);
});

describe("E5-Mistral", () => {
  const file = sentencePieceJson([], []);
  const config = { add_bos_token: true, tokenizer_class: "LlamaTokenizer", bos_token: "<s>", eos_token: "</s>" };
  const prompts = { web_search_query: "Instruct: find passages\nQuery: " };
  const own = { auto_map: { AutoTokenizer: [null, "tokenization.OwnTokenizerFast"] } };
  const pieces = (text: string) => bytes(`▁${text.replaceAll(" ", "▁")}`).map((byte) => byte + 3);
  test.each<[string, object, number[]]>([
    ["add_eos_token with a class that respects it", { add_eos_token: true }, [2]],
    ["add_eos_token with the fast class", { add_eos_token: true, tokenizer_class: "LlamaTokenizerFast" }, [2]],
    ["add_eos_token with a custom class", { add_eos_token: true, tokenizer_class: "OwnTokenizer", ...own }, [2]],
    ["no </s> if add_eos_token is false", { add_eos_token: false }, []],
    [
      "no </s> with a class that reads tokenizer.json only",
      { add_eos_token: true, tokenizer_class: "PreTrainedTokenizerFast" },
      [],
    ],
  ])("appends </s> to texts if the settings say so: %s", async (_, more, end) => {
    const tokenizer = { file, config: { ...config, ...more } };
    const folder = await folderOf({ modelType: "mistral", slidingWindow: 32 }, tokenizer, prompts);
    await check(folder, "web_search_query", (text, prompt) => [1, ...pieces(prompt + text), ...end]);
  });

  test("appends </s> once if tokenizer.json does too, after each text of a pair, and never to prompts of completions", async () => {
    const load = (more: object, tokenizer: object = file) =>
      fromJson(tokenizer, { ...config, add_eos_token: true, ...more });
    const tokenizer = load({});
    const again = fromJson(JSON.parse(tokenizer.files()["tokenizer.json"]!), { ...config, add_eos_token: true });
    expect([...again.encode("a")]).toEqual([1, ...pieces("a"), 2]);
    const [two] = await again.encodeInputs([["a", "b"]]);
    expect([...two!.ids]).toEqual([1, ...pieces("a"), 2, 1, ...pieces("b"), 2]);
    expect(load({ eos_token: "</none>" }).closingCount).toBe(0);
    await using model = createModel({ modelType: "llama", ...sizes, vocabSize: 320 }, { tokenizer, seed: 2 });
    const [text, ids] = [
      await model.complete("a", { maxTokens: 4, temperature: 0 }),
      await model.complete([1, ...pieces("a")], { maxTokens: 4, temperature: 0 }),
    ];
    expect(text.tokens).toEqual(ids.tokens);
  });
});

test("Qwen3-Reranker: the scores of yes and no agree with their logits at the last token", async () => {
  const tokenizer = fromJson(
    byteLevelJson(
      [
        ["y", "e"],
        ["ye", "s"],
        ["n", "o"],
      ],
      { added_tokens: [added(259, "<|im_start|>"), added(260, "<|im_end|>")] },
    ),
    qwenConfig,
  );
  await using model = createModel(
    { modelType: "qwen3", ...sizes, vocabSize: 320, maxPositionEmbeddings: 256, initializerRange: 0.3 },
    { tokenizer, seed: 6 },
  );
  const prompt =
    "<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n<Query>: q\n<Document>: d<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
  const ids = [...tokenizer.encode(prompt, { allowSpecial: true })];
  const [yes, no] = ["yes", "no"].map((word) => [...tokenizer.encode(word)]);
  expect([yes, no]).toEqual([[257], [258]]);
  const [last] = await model.logits(ids, { last: true });
  const [a, b] = [last![yes![0]!]!, last![no![0]!]!];
  const relevance = 1 / (1 + Math.exp(b - a));
  const scores = await Promise.all(
    [yes!, no!].map(async (word) => Math.exp((await model.score([...ids, ...word], { from: ids.length })).at(-1)!)),
  );
  expect(scores[0]! / (scores[0]! + scores[1]!)).toBeCloseTo(relevance, 4);
});
