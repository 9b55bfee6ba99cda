// A custom family: the example's StableLM, loaded from a Hugging Face folder and used in every way.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import "../../examples/custom-family.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import { add, embedding, reshape, rmsNorm, type Value } from "../../lib/graph/index.ts";
import { type FamilyDefinition, type ForwardContext, registerFamily } from "../../lib/graph-entry.ts";
import { convertModel, createModel, LanguageModel, type ModelConfigInput, sft } from "../../lib/index.ts";
import { BUILT_IN } from "../../lib/models/families/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { maxRowDifference } from "../helpers/max-difference.ts";
import { failureOf, sentences, tinyTokenizer } from "../inference/helpers.ts";
import { type StableLm, stableLmLogits } from "./stablelm-reference.ts";

const shape: StableLm = {
  hidden: 32,
  inner: 64,
  layers: 2,
  heads: 4,
  keyHeads: 2,
  rotary: 4,
  theta: 10000,
  eps: 1e-5,
  parallel: false,
};
const vocabulary = 320;

/** A config.json with the keys of transformers' StableLmConfig. */
const configOf = ({ parallel }: StableLm) => ({
  architectures: ["CustomStableLmForCausalLM"],
  attention_dropout: 0,
  bos_token_id: 0,
  eos_token_id: 0,
  hidden_act: "silu",
  hidden_size: shape.hidden,
  initializer_range: 0.02,
  intermediate_size: shape.inner,
  layer_norm_eps: shape.eps,
  max_position_embeddings: 128,
  model_type: "custom_stablelm",
  num_attention_heads: shape.heads,
  num_hidden_layers: shape.layers,
  num_key_value_heads: shape.keyHeads,
  partial_rotary_factor: 0.5,
  qk_layernorm: false,
  rope_scaling: null,
  rope_theta: shape.theta,
  tie_word_embeddings: false,
  torch_dtype: "float32",
  use_cache: true,
  use_parallel_residual: parallel,
  use_qkv_bias: true,
  vocab_size: vocabulary,
});

function randomWeights({
  hidden,
  inner,
  layers,
  heads,
  keyHeads,
  parallel,
}: StableLm): Map<string, [number[], Float32Array]> {
  let state = 12345;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const out = new Map<string, [number[], Float32Array]>();
  const draw = (name: string, dims: number[], spread: number, centre = 0) => {
    const length = dims.reduce((a, b) => a * b, 1);
    out.set(name, [dims, Float32Array.from({ length }, () => centre + spread * next())]);
  };
  const keys = (hidden / heads) * keyHeads;
  draw("model.embed_tokens.weight", [vocabulary, hidden], 2);
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    for (const [name, rows] of [
      ["q", hidden],
      ["k", keys],
      ["v", keys],
    ] as const) {
      draw(`${layer}.self_attn.${name}_proj.weight`, [rows, hidden], 0.8);
      draw(`${layer}.self_attn.${name}_proj.bias`, [rows], 0.4);
    }
    draw(`${layer}.self_attn.o_proj.weight`, [hidden, hidden], 0.8);
    draw(`${layer}.mlp.gate_proj.weight`, [inner, hidden], 0.8);
    draw(`${layer}.mlp.up_proj.weight`, [inner, hidden], 0.8);
    draw(`${layer}.mlp.down_proj.weight`, [hidden, inner], 0.8);
    for (const name of parallel ? ["input_layernorm"] : ["input_layernorm", "post_attention_layernorm"]) {
      draw(`${layer}.${name}.weight`, [hidden], 0.4, 1);
      draw(`${layer}.${name}.bias`, [hidden], 0.4);
    }
  }
  draw("model.norm.weight", [hidden], 0.4, 1);
  draw("model.norm.bias", [hidden], 0.4);
  draw("lm_head.weight", [vocabulary, hidden], 0.8);
  return out;
}

/** A folder as written by save_pretrained. */
async function writeFolder(folder: string, model: StableLm) {
  const weights = randomWeights(model);
  const header: Record<string, object> = {};
  let at = 0;
  for (const [name, [dims, data]] of weights) {
    header[name] = { dtype: "F32", shape: dims, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const parts = [...weights.values()].map(([, data]) => Buffer.from(data.buffer));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, text, ...parts]));
  await writeFile(join(folder, "config.json"), JSON.stringify(configOf(model)));
  await (await tinyTokenizer()).save(folder);
  return new Map([...weights].map(([name, [, data]]) => [name, data]));
}

const worst = (got: readonly Float32Array[], wanted: readonly ArrayLike<number>[]) => maxRowDifference(got, wanted);

const ids = [5, 17, 240, 99, 3, 17, 240, 60, 71, 300];

describe.each([false, true])("StableLM, use_parallel_residual %s", (parallel) => {
  const model = { ...shape, parallel };
  const folder = temporaryFolder();

  test("has the reference's logits and greedy tokens when loaded from a Hugging Face folder", async () => {
    const path = join(folder, "official");
    const weights = await writeFolder(path, model);
    const wanted = stableLmLogits(weights, ids, model);
    await using loaded = await LanguageModel.load(path);
    expect(loaded.config).toMatchObject({ partialRotaryFactor: 0.5, layerNormEpsilon: 1e-5, attentionBias: true });
    expect(loaded.config.custom).toEqual({ useParallelResidual: parallel, qkLayernorm: false });
    expect(worst(await loaded.logits(ids), wanted)).toBeLessThan(1e-4);
    const { tokens } = await loaded.complete(ids, { maxTokens: 12, temperature: 0, ignoreEos: true });
    const seen = [...ids];
    for (const token of tokens) {
      const last = stableLmLogits(weights, seen, model).at(-1)!;
      expect(token).toBe(last.indexOf(Math.max(...last)));
      seen.push(token);
    }
  });

  test("keeps config.json and logits when saved", async () => {
    const path = join(folder, "official");
    await writeFolder(path, model);
    await using loaded = await LanguageModel.load(path);
    await loaded.save(join(folder, "saved"));
    const config = JSON.parse(await readFile(join(folder, "saved", "config.json"), "utf8"));
    const { attention_dropout: _, ...told } = configOf(model);
    expect(config).toMatchObject(told);
    await using again = await LanguageModel.load(join(folder, "saved"));
    expect(worst(await again.logits(ids), await loaded.logits(ids))).toBe(0);
  });

  test("keeps its logits in GGUF, approximately if quantized", async () => {
    const path = join(folder, "official");
    await writeFolder(path, model);
    await using loaded = await LanguageModel.load(path);
    const exact = await loaded.logits(ids);
    await convertModel(path, join(folder, "f32.gguf"));
    await using gguf = await LanguageModel.load(join(folder, "f32.gguf"));
    expect(gguf.config.custom).toEqual(loaded.config.custom);
    expect(worst(await gguf.logits(ids), exact)).toBe(0);
    await convertModel(join(folder, "f32.gguf"), join(folder, "back"));
    await using back = await LanguageModel.load(join(folder, "back"));
    expect(worst(await back.logits(ids), exact)).toBe(0);

    await convertModel(path, join(folder, "q8.gguf"), { dtype: "q8_0" });
    const files = await openModelFiles(join(folder, "q8.gguf"));
    expect(files.weights.info("model.layers.1.self_attn.q_proj.weight").dtype).toBe("q8_0");
    files.close();
    await using narrow = await LanguageModel.load(join(folder, "q8.gguf"));
    const difference = worst(await narrow.logits(ids), exact);
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(0.03 * Math.max(...exact.flatMap((row) => [...row])));
  });

  test("trains from scratch fully, with an adapter, and with bit-identical gradient checkpointing", async () => {
    const tokenizer = await tinyTokenizer();
    const config: ModelConfigInput = {
      modelType: "custom_stablelm",
      hiddenSize: 32,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      maxPositionEmbeddings: 64,
      custom: { useParallelResidual: parallel },
    };
    const options = {
      data: sentences.map((text) => ({ text })),
      maxSteps: 40,
      maxSeqLength: 32,
      learningRate: 5e-3,
      seed: 1,
    };
    const losses = async (base: LanguageModel, more: object) => {
      const out: number[] = [];
      for await (const event of sft(base, { ...options, ...more })) if ("loss" in event) out.push(event.loss);
      return out;
    };
    await using whole = createModel(config, { tokenizer, seed: 3 });
    const got = await losses(whole, { outputDir: join(folder, "out") });
    expect(got.at(-1)!).toBeLessThan(got[0]! * 0.6);
    await using checkpointed = createModel(config, { tokenizer, seed: 3 });
    expect(await losses(checkpointed, { gradientCheckpointing: true })).toEqual(got);
    await using reloaded = await LanguageModel.load(join(folder, "out"));
    expect(worst(await reloaded.logits("The cat saw"), await whole.logits("The cat saw"))).toBe(0);
    const adapted = await losses(reloaded, { lora: { r: 4 }, maxSteps: 5 });
    expect(adapted).toHaveLength(5);
    expect([...reloaded.model.adapters.get("default")!.layers.keys()]).toContain("model.layers.1.mlp.down_proj");
  });
});

const forward = (context: ForwardContext): Value => {
  const x = embedding(context.weight("model.embed_tokens.weight"), context.ids, { dtype: context.dtype });
  const heads = reshape(x, [x.dim(0), 2, 8]);
  const said = reshape(context.attend(0, { q: heads, k: heads, v: heads }, {}), [x.dim(0), 16]);
  return rmsNorm(add(x, said), context.weight("model.norm.weight"), { eps: 1e-6 }).y;
};
const weights: FamilyDefinition["weights"] = ({ vocabSize, hiddenSize }) =>
  new Map([
    ["model.embed_tokens.weight", { shape: [vocabSize, hiddenSize], init: "normal" }],
    ["model.norm.weight", { shape: [hiddenSize], init: "ones" }],
  ]);
const least = { architecture: "LeastForCausalLM", defaults: { tieWordEmbeddings: true }, weights, forward };
const sizes = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize: 40, maxPositionEmbeddings: 1024 };

test("each family of the package is listed under its model type", () => {
  expect(Object.values(BUILT_IN).map(({ modelType }) => modelType)).toEqual(Object.keys(BUILT_IN));
});

test("a minimal family with two weights generates, also by beam search", async () => {
  registerFamily({ modelType: "least", ...least });
  await using model = createModel({ modelType: "least", ...sizes, initializerRange: 0.5 }, { seed: 2 });
  const { tokens } = await model.complete([1, 2, 3], { maxTokens: 3, temperature: 0 });
  const last = (await model.logits([1, 2, 3], { last: true }))[0]!;
  expect(tokens[0]).toBe(last.indexOf(Math.max(...last)));
  // The custom function does not select rows, so it computes the logits of all rows, and `last` returns one of them.
  const all = await model.logits([1, 2, 3]);
  expect(worst([last], [all[2]!])).toBe(0);
  // Beam search also works with a custom family.
  const beams = await model.completeAll([[1, 2, 3], [4]], { maxTokens: 3, numBeams: 2 });
  expect(beams.map(({ tokens }) => tokens.length)).toEqual([3, 3]);
});

test("missing, misspelt or conflicting parts of a definition are named", async () => {
  const refused = (definition: object) => failureOf(() => registerFamily(definition as FamilyDefinition));
  const { forward: _, ...half } = { modelType: "half", ...least };
  expect(await refused(half)).toEqual({
    code: "INVALID_ARGUMENT",
    message: "family.forward: expected a function, got undefined",
  });
  expect((await refused({ modelType: "x", ...least, wieghts: weights })).message).toBe(
    "family.wieghts: expected a known name (nearest: weights), got an unknown one",
  );
  expect((await refused({ modelType: "llama", ...least })).message).toMatch(
    /^family.modelType: expected a name that no/,
  );
  expect((await refused({ modelType: "custom_stablelm", ...least })).message).toMatch(/^family.modelType/);
  const gguf = { architecture: "llama" };
  expect((await refused({ modelType: "x", ...least, gguf })).message).toMatch(
    /^family.gguf.architecture: expected a name that/,
  );
  const names = { "model.layers.{layer}.a": "blk.a" };
  expect((await refused({ modelType: "x", ...least, gguf: { architecture: "x", names } })).message).toMatch(
    /\{layer\} in both/,
  );
  const custom = { snake_case: 1 };
  expect((await refused({ modelType: "x", ...least, custom })).message).toMatch(
    /^family.custom: expected names in camelCase/,
  );
  expect((await refused({ modelType: "x", ...least, custom: { a: () => 1 } })).message).toMatch(
    /^family.custom.a: expected/,
  );
  const twice = { custom: { eps: 1 }, keys: { eps: "layerNormEpsilon" } };
  expect((await refused({ modelType: "x", ...least, ...twice })).message).toMatch(
    /^family.custom.eps: expected a name whose key/,
  );
  expect((await refused({ modelType: "x", ...least, defaults: { layerNormEps: 1 } })).message).toBe(
    'family.defaults: expected a field of configurations (nearest: layerNormEpsilon), got "layerNormEps"',
  );
  expect((await refused({ modelType: "x", ...least, keys: { layer_norm_eps: "layerNormEps" } })).message).toBe(
    'family.keys.layer_norm_eps: expected a field of configurations (nearest: layerNormEpsilon), got "layerNormEps"',
  );
  // None of the failed registrations has side effects.
  expect((await failureOf(() => createModel({ modelType: "x", ...sizes }))).code).toBe("UNSUPPORTED");
});

test("errors in a family's functions name the family", async () => {
  const wrong = (modelType: string, more: object, config: object = {}) => {
    registerFamily({ modelType, ...least, ...more });
    return failureOf(async () => {
      await using model = createModel({ modelType, ...sizes, ...config });
      await model.complete([1, 2, 3], { maxTokens: 2 });
    });
  };
  expect(
    await wrong("wide", { forward: (c: ForwardContext) => reshape(forward(c), [c.ids.dim(0), 4, 4]) }),
  ).toMatchObject({
    code: "SHAPE_MISMATCH",
    message: expect.stringMatching(/^wide\.forward: expected hidden states \(rows, 16\), got f32\(rows, 4, 4\)$/),
  });
  expect((await wrong("none", { forward: () => undefined })).message).toMatch(/^none\.forward: expected hidden states/);
  const typo = (c: ForwardContext) => add(forward(c), c.weight("model.nrom.weight"));
  expect((await wrong("typo", { forward: typo })).message).toBe(
    'weight: expected a weight of typo (nearest: model.norm.weight), got "model.nrom.weight"',
  );
  expect((await wrong("list", { weights: () => [] })).message).toMatch(/^list\.weights: expected a Map/);
  const odd = () => new Map([["a.weight", { shape: [0], init: "normal" }]]);
  expect((await wrong("odd", { weights: odd })).message).toMatch(/^odd\.weights: "a.weight": shape: expected/);
  const drawn = () => new Map([["a.weight", { shape: [1], init: "uniform" }]]);
  expect((await wrong("drawn", { weights: drawn })).message).toMatch(
    /^drawn\.weights: "a.weight": init: expected normal,/,
  );
  // A windowed cache would lose keys that such a layer attends to.
  expect((await wrong("slides", { windows: { kind: "all", otherwise: null } }, { slidingWindow: 8 })).message).toMatch(
    /^attend: window of layer 0: expected the configuration's 8, for which/,
  );
  const attended = (times: readonly [layer: number, options?: object][]) => (c: ForwardContext) => {
    const x = forward(c);
    const heads = reshape(x, [x.dim(0), 2, 8]);
    return times.reduce((sum, [layer, options]) => {
      const o = c.attend(layer, { q: heads, k: heads, v: heads }, options);
      return add(sum, reshape(o, [x.dim(0), 16]));
    }, x);
  };
  expect((await wrong("beyond", { forward: attended([[1]]) })).message).toBe(
    "beyond.forward: attend: layer: expected a whole number from 0 to 0, got 1",
  );
  expect((await wrong("again", { forward: attended([[0], [0]]) })).message).toBe(
    "again.forward: attend: expected each layer once, got layer 0 again",
  );
  expect((await wrong("windw", { forward: attended([[0, { windw: 4 }]]) })).message).toBe(
    "windw.forward: attend: options.windw: expected a known name (nearest: window), got an unknown one",
  );
  expect((await wrong("headless", { head: () => undefined })).message).toMatch(
    /^headless\.head\(\): expected an object, got undefined$/,
  );
  const custom = { custom: { twice: false } };
  expect((await wrong("owner", custom, { custom: { twise: true } })).message).toBe(
    "model configuration: custom.twise: expected a known custom value of owner (nearest: twice), got an unknown one",
  );
  expect((await wrong("owner2", custom, { custom: { twice: 1 } })).message).toMatch(
    /custom\.twice: expected a boolean, got 1$/,
  );
});

describe("a family without `gguf`", () => {
  const folder = temporaryFolder();
  test("cannot be converted to GGUF, and the error names the missing part", async () => {
    registerFamily({ modelType: "nogguf", ...least });
    await using model = createModel({ modelType: "nogguf", ...sizes });
    await model.save(join(folder, "folder"));
    expect(await failureOf(() => convertModel(join(folder, "folder"), join(folder, "x.gguf")))).toEqual({
      code: "UNSUPPORTED",
      message: "nogguf: cannot be written to GGUF, because the family was registered without `gguf`",
    });
  });
});
