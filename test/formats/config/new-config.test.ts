// Configurations of new models: optional fields, inconsistent values, and models too large for memory.
import { describe, expect, test } from "vitest";
import { parseModelConfig } from "../../../lib/formats/config/config.ts";
import { createModel, createModelAsync, type LanguageModel } from "../../../lib/index.ts";
import { tinyTokenizer } from "../../inference/helpers.ts";

const sizes = { modelType: "llama", hiddenSize: 64, numHiddenLayers: 2, vocabSize: 100 } as const;
const messageOf = (config: object) => {
  try {
    createModel(config as never);
  } catch (error) {
    return (error as Error).message;
  }
  return "none";
};

describe("inconsistent configurations", () => {
  test.each([
    [
      { hiddenSize: 10, numAttentionHeads: 4 },
      "hiddenSize: expected a multiple of numAttentionHeads 4, or an explicit headDim, got 10",
    ],
    [
      { hiddenSize: 65 },
      "hiddenSize: expected a multiple of an even headDim up to 256, or explicit numAttentionHeads and headDim, got 65",
    ],
    [{ hiddenSize: 12, numAttentionHeads: 4 }, "headDim: expected an even number for rotary positions, got 3"],
    [
      { numAttentionHeads: 4, numKeyValueHeads: 3 },
      "numKeyValueHeads: expected a divisor of numAttentionHeads 4, got 3",
    ],
    [{ hiddenSize: 2.5 }, "hiddenSize: expected a whole number from 1 to 131072, got 2.5"],
    [
      { hiddenSize: undefined, hidden_size: 64 },
      "hidden_size: expected a camelCase key, or a config.json with model_type (nearest: hiddenSize), got an unknown one",
    ],
    [{ modelType: undefined }, "modelType: expected a string, got nothing"],
  ])("the error about %j names a field, and what it should be", (config, message) => {
    const { modelType, ...rest } = { ...sizes, ...config };
    expect(messageOf(modelType === undefined ? rest : { modelType, ...rest })).toBe(`model configuration: ${message}`);
  });

  test("are rejected in a config.json, which must contain fields that are optional for new models", () => {
    const json = { model_type: "llama", hidden_size: 65, num_hidden_layers: 1, vocab_size: 100, intermediate_size: 64 };
    expect(() => parseModelConfig(json, "config.json")).toThrow(
      /config.json: num_attention_heads: expected .* got nothing/,
    );
    expect(() => parseModelConfig({ ...json, num_attention_heads: 4 }, "config.json")).toThrow(
      "config.json: hidden_size: expected a multiple of num_attention_heads 4, or an explicit head_dim, got 65",
    );
  });
});

test("createModel accepts the key names of config.json, and derives missing values from the given ones and the tokenizer", async () => {
  const tokenizer = await tinyTokenizer();
  const { vocabSize: _, ...camel } = sizes;
  const named = { model_type: "llama", hidden_size: 64, num_hidden_layers: 2, max_position_embeddings: 32 };
  await using snake = createModel(named as never, { tokenizer });
  await using other = createModel({ ...camel, maxPositionEmbeddings: 32 }, { tokenizer });
  const { vocabSize, intermediateSize, numAttentionHeads, eosTokenIds, bosTokenId } = other.model.config;
  expect(snake.model.config).toMatchObject({ vocabSize, intermediateSize, numAttentionHeads, eosTokenIds, bosTokenId });
  expect(eosTokenIds).toEqual([...tokenizer.eosTokenIds]);
});

describe("a model too large for memory", () => {
  const large = { ...sizes, hiddenSize: 100_000, vocabSize: 1_000_000, numHiddenLayers: 80 };
  const refusal = {
    name: "HeddleError",
    code: "OUT_OF_MEMORY",
    message: expect.stringMatching(
      /^model configuration: expected weights that fit in [\d.]+ GB of memory, got [\d,.]+ billion parameters, [\d.]+ [GT]B in f32$/,
    ),
  };
  test("is rejected by createModel before any weight is initialized", () => {
    const began = performance.now();
    expect(() => createModel(large)).toThrow(expect.objectContaining(refusal));
    expect(performance.now() - began).toBeLessThan(5000);
  });
  test("is rejected by createModelAsync", () => expect(createModelAsync(large)).rejects.toMatchObject(refusal));
});

describe("createModelAsync", () => {
  const bytesOf = async ({ model }: LanguageModel, name: string) =>
    Buffer.from((await model.weight(name).toFloat32()).buffer);
  const config = { ...sizes, hiddenSize: 256, numHiddenLayers: 4, vocabSize: 4000 };

  test("initializes the same weights as createModel, reports progress and does not block the event loop", async () => {
    const told: number[] = [];
    let parameters = 0;
    let turns = 0;
    const turn = setInterval(() => turns++, 1);
    await using drawn = await createModelAsync(config, {
      seed: 7,
      onProgress(done, total) {
        told.push(done / total);
        parameters = total;
      },
    });
    clearInterval(turn);
    await using same = createModel(config, { seed: 7 });
    for (const name of same.model.weightNames)
      expect(Buffer.compare(await bytesOf(drawn, name), await bytesOf(same, name)), name).toBe(0);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(1);
    expect(new Set(told).size).toBe(told.length);
    const names = [...drawn.model.weightNames];
    expect(parameters).toBe(names.reduce((sum, name) => sum + drawn.model.weight(name).elements, 0));
    expect(told.length, "a large matrix reports progress several times").toBeGreaterThan(names.length + 10);
    expect(turns).toBeGreaterThan(2);
  });

  test("stops when aborted, and rejects an onProgress that is not a function", async () => {
    const stop = new AbortController();
    const made = createModelAsync(config, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(made).rejects.toMatchObject({ code: "ABORTED" });
    await expect(createModelAsync(config, { onProgress: 3 as never })).rejects.toThrow(
      /^onProgress: expected a function/,
    );
  });
});
