// llama.cpp gives the same vectors, up to rounding, for converted decoder embedders. Needs node-llama-cpp below HEDDLE_BENCH_LLAMA.
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { fromJson } from "../tokenizer/samples.ts";
import { encoderFolder, robertaTokenizer, texts } from "./gguf-encoders/encoder-files.ts";
import { onePeer } from "./llama-cpp-peer.ts";

const installed = process.env.HEDDLE_BENCH_LLAMA !== undefined;
if (!installed)
  console.warn("HEDDLE_BENCH_LLAMA is not set: no file of a decoder that embeds is compared with llama.cpp");

const peers = onePeer();
afterAll(peers.close);

const apart = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.hypot(...Array.from(a, (v, i) => v - b[i]!)) / Math.hypot(...Array.from(b));

const raw = (pooling: string, more: object = {}) => ({ embedding: { pooling, normalize: false, ...more } });
const dense = (outFeatures: number) => ({ type: "dense", outFeatures, bias: false, activation: "identity" });
const sizes = { numKeyValueHeads: 2, initializerRange: 0.05 };
const gemma = {
  ...{ modelType: "gemma3_text", useBidirectionalAttention: true, slidingWindow: 8, numHiddenLayers: 7, headDim: 32 },
  ...sizes,
};
const models: Record<string, object> = {
  embeddinggemma: { ...gemma, ...raw("mean", { layers: [dense(512), dense(256)] }) },
  "embeddinggemma without dense layers": { ...gemma, ...raw("mean") },
  "gemma 3, causal, last": { ...gemma, useBidirectionalAttention: undefined, ...raw("last") },
  "qwen3, last": { modelType: "qwen3", ...sizes, ...raw("last") },
  "qwen2, bidirectional, last": { modelType: "qwen2", useBidirectionalAttention: true, ...sizes, ...raw("last") },
  "llama, bidirectional, mean": { modelType: "llama", useBidirectionalAttention: true, ...sizes, ...raw("mean") },
};

describe.skipIf(!installed)("vectors of converted embedders", () => {
  test("agree with llama.cpp's for texts, which end with the tokenizer's closing token, not the end-of-turn token", async () => {
    const trained = await Tokenizer.train(texts, { vocabSize: 400, specialTokens: ["<|endoftext|>", "<|im_end|>"] });
    const json = JSON.parse(trained.files()["tokenizer.json"]!);
    const end = { SpecialToken: { id: "<|endoftext|>", type_id: 0 } };
    const [id] = trained.encode("<|endoftext|>", { allowSpecial: true, addSpecialTokens: false });
    const template = {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }, end],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, end, { Sequence: { id: "B", type_id: 1 } }, end],
      special_tokens: { "<|endoftext|>": { id: "<|endoftext|>", ids: [id!], tokens: ["<|endoftext|>"] } },
    };
    const tokenizer = fromJson({ ...json, post_processor: template }, { eos_token: "<|im_end|>" });
    const file = join(temporaryFolder(), "embedder.gguf");
    // node-llama-cpp appends the closing token only if there is a beginning token, as in Qwen's config.json.
    const config = { ...models["qwen3, last"], bosTokenId: id };
    await convertModel(await encoderFolder(config, tokenizer), file, { dtype: "f32" });
    const peer = await peers.of(file);
    await using model = await LanguageModel.load(file);
    for (const text of texts.slice(0, 3)) {
      expect(model.tokenizer!.encode(text).at(-1)).toBe(id);
      expect(apart(await peer.embed(text), await model.embed(text))).toBeLessThan(4 * 2 ** -11);
    }
  });

  test.each(Object.keys(models).flatMap((name) => (["f32", "q8_0"] as const).map((dtype) => ({ name, dtype }))))(
    "agree with llama.cpp's for $name in $dtype",
    async ({ name, dtype }) => {
      const file = join(temporaryFolder(), "embedder.gguf");
      await convertModel(await encoderFolder(models[name], await robertaTokenizer()), file, { dtype });
      const peer = await peers.of(file);
      await using exact = await LanguageModel.load(file, { quantizedActivations: "f32" });
      await using rounded = await LanguageModel.load(file);
      let [theirs, ours] = [0, 0];
      for (const text of texts) {
        const ids = [...exact.tokenizer!.encode(text)];
        const want = await exact.embed(ids);
        theirs += apart(await peer.embed(ids), want) / texts.length;
        ours += apart(await rounded.embed(ids), want) / texts.length;
      }
      // See llama-cpp-encoders.test.ts for the bound.
      expect(theirs).toBeLessThan(dtype === "f32" ? 4 * 2 ** -11 : 3 * ours);
    },
  );
});
