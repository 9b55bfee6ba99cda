// llama.cpp computes the same logits, up to rounding, for converted files. Needs node-llama-cpp below HEDDLE_BENCH_LLAMA.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { differencesInLlamaCpp } from "../../lib/convert/differences.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { formatOf } from "../../lib/formats/config/families.ts";
import type { QuantizedDType } from "../../lib/graph/dtype.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { randomGguf } from "../formats/gguf/random-gguf.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { familyConfig, familyGoldens } from "../golden/families.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { generator, quantizedTypes } from "../ops/harness.ts";
import { f32, ropeFreqs, splitGguf, text, u32, withoutHeddleKeys } from "./foreign-gguf.ts";
import { onePeer } from "./llama-cpp-peer.ts";

const installed = process.env.HEDDLE_BENCH_LLAMA !== undefined;
if (!installed) console.warn("HEDDLE_BENCH_LLAMA is not set: no file is compared with llama.cpp");
const experts = { numExperts: 6, numExpertsPerTok: 2, headDim: 64 };
const sizes = { hiddenSize: 256, intermediateSize: 512, initializerRange: 0.1, maxPositionEmbeddings: 1024 };
/**
 * The tested configurations by name. They exclude what llama.cpp computes differently: sliding windows of llama and phi3 files, expert
 * weights that do not add up to one, and YaRN with fractional bounds.
 */
const families: Record<string, object> = {
  llama: { attentionBias: true, mlpBias: true },
  "llama with yarn": {
    ropeScaling: { ropeType: "yarn", factor: 4, originalMaxPositionEmbeddings: 128, attentionFactor: 1.3 },
  },
  "llama with llama3 scaling": {
    ropeScaling: {
      ropeType: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: 64,
    },
  },
  "llama with longrope, beyond the original context": {
    ropeScaling: {
      ropeType: "longrope",
      shortFactor: Array.from({ length: 32 }, (_, i) => 1 + i / 40),
      longFactor: Array.from({ length: 32 }, (_, i) => 1 + i / 5),
      originalMaxPositionEmbeddings: 32,
    },
  },
  qwen2: {},
  qwen3: { headDim: 64, ropeScaling: { ropeType: "linear", factor: 3 } },
  qwen3_moe: { ...experts, moeIntermediateSize: 256, normTopkProb: true },
  qwen2_moe: { numExperts: 6, numExpertsPerTok: 2, moeIntermediateSize: 256, sharedExpertIntermediateSize: 512 },
  mixtral: experts,
  olmoe: { numExperts: 6, numExpertsPerTok: 2, numKeyValueHeads: 4 },
  gemma: { headDim: 64 },
  gemma2: { headDim: 64, slidingWindow: 20 },
  gemma3_text: { headDim: 64, slidingWindow: 20, numHiddenLayers: 7, ropeScaling: { ropeType: "linear", factor: 8 } },
  granite: { embeddingMultiplier: 12, attentionMultiplier: 0.02, residualMultiplier: 0.3, logitsScaling: 4 },
  granitemoehybrid: { embeddingMultiplier: 12, attentionMultiplier: 0.02, residualMultiplier: 0.3, logitsScaling: 4 },
  granitemoe: {
    ...experts,
    embeddingMultiplier: 12,
    attentionMultiplier: 0.02,
    residualMultiplier: 0.3,
    logitsScaling: 4,
  },
  "gemma3_text with another pattern of sliding layers": {
    headDim: 64,
    slidingWindow: 20,
    numHiddenLayers: 4,
    layerTypes: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
  },
  "gemma2 with irregular sliding layers": {
    headDim: 64,
    slidingWindow: 20,
    numHiddenLayers: 4,
    layerTypes: ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
  },
  olmo2: {},
  olmo3: { slidingWindow: 20, numHiddenLayers: 5 },
  // llama.cpp detects this model by its depth; at other depths it computes no windows.
  exaone4: { slidingWindow: 20, numHiddenLayers: 64, hiddenSize: 64, intermediateSize: 64, tieWordEmbeddings: true },
  seed_oss: { headDim: 32 },
  phi: { partialRotaryFactor: 0.5 },
  "phi with fewer key heads": { numKeyValueHeads: 2, partialRotaryFactor: 0.25 },
  hunyuan_v1_dense: { headDim: 32, ropeTheta: 5e5 },
  "exaone4 without a window": { slidingWindow: null, headDim: 64 },
  "olmo3 with yarn": {
    slidingWindow: 20,
    numHiddenLayers: 5,
    ropeScaling: { ropeType: "yarn", factor: 8, originalMaxPositionEmbeddings: 128 },
  },
  "phi3 with longrope, beyond the original context": {
    partialRotaryFactor: 0.75,
    ropeScaling: {
      ropeType: "longrope",
      shortFactor: Array.from({ length: 24 }, (_, i) => 1 + i / 40),
      longFactor: Array.from({ length: 24 }, (_, i) => 1 + i / 5),
      originalMaxPositionEmbeddings: 32,
    },
  },
  smollm3: { numHiddenLayers: 5 },
  gpt_oss: { ...experts, slidingWindow: 20 },
  gpt2: { numKeyValueHeads: 4 },
  // Pythia's GELU is exact, llama.cpp's is the tanh form.
  gpt_neox: { numKeyValueHeads: 4, hiddenAct: "gelu_pytorch_tanh" },
  starcoder2: {},
  stablelm: { attentionBias: true },
  "stablelm with parallel blocks and norms of heads": {
    ...{ numKeyValueHeads: 2, useParallelResidual: true, useQkNorm: true },
  },
  ernie4_5: { headDim: 32 },
  cohere: { logitScale: 0.25 },
  // llama.cpp detects a Cohere model with norms of heads by its depth.
  "cohere with norms of heads": {
    ...{ logitScale: 0.25, useQkNorm: true, numHiddenLayers: 64 },
    ...{ hiddenSize: 128, intermediateSize: 64, initializerRange: 0.03 },
  },
  cohere2: { logitScale: 0.25, slidingWindow: 20, numHiddenLayers: 5 },
  glm: { attentionBias: true },
  glm4: { attentionBias: true, headDim: 32 },
  "gpt_neox with sequential blocks": {
    ...{ numKeyValueHeads: 4, hiddenAct: "gelu_pytorch_tanh" },
    ...{ useParallelResidual: false, partialRotaryFactor: 1 },
  },
};

const modelTypeOf = (name: string) => name.split(" ")[0]!;
const named = new Set(Object.keys(families).map(modelTypeOf));
// Other families are tested in the configuration of their first golden that llama.cpp computes as heddle does.
for (const golden of familyGoldens) {
  const { model_type: type } = golden.config;
  const config = { ...familyConfig(golden), ...sizes };
  const whole = { ...config, headDim: sizes.hiddenSize / config.numAttentionHeads! };
  if (named.has(type) || type in families || !formatOf(type).gguf) continue;
  if (differencesInLlamaCpp(parseModelConfig({ ...whole, vocabSize: 320 })).length === 0) families[type] = whole;
}

test("has a configuration of every family that llama.cpp knows", () => {
  const known = familyGoldens.map(({ config }) => config.model_type).filter((type) => formatOf(type).gguf);
  expect(known.length).toBeGreaterThan(40);
  expect(Object.keys(families).map(modelTypeOf)).toEqual(expect.arrayContaining(known));
});

/** Writes a folder of random weights. Norms, biases and sinks are random too, so that a mix-up shows. */
async function folderOf(name: string, more: object = {}): Promise<string> {
  const modelType = modelTypeOf(name);
  const tokenizer = await tinyTokenizer();
  await using model = tinyModel({ tokenizer }, { modelType, ...sizes, ...families[name], ...more });
  const random = generator(11);
  for (const weight of model.model.weightNames) {
    const tensor = model.model.weight(weight);
    if (tensor.shape.length > 1 && !/\.bias$|_norm\.weight$/.test(weight)) continue;
    const values = (await tensor.read()) as Float32Array;
    await tensor.write(values.map((v) => v + 0.2 * (random() - 0.5)));
  }
  const folder = join(temporaryFolder(), "model");
  await model.save(folder);
  return folder;
}

const peers = onePeer();
afterAll(peers.close);
const defaultModel = fileURLToPath(new URL("../../models/default", import.meta.url));
const rms = (x: ArrayLike<number>) => Math.sqrt(Array.from(x).reduce((sum, v) => sum + v * v, 0) / x.length);
const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => rms(Array.from(a, (v, i) => v - b[i]!)) / rms(b);
const prompts = [
  [5],
  Array.from({ length: 9 }, (_, i) => 10 + ((i * 53) % 300)),
  Array.from({ length: 50 }, (_, i) => 10 + ((i * 37) % 300)),
];

const types = ["f32", "q8_0"] as const;
const allTypes = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"] as const;
const cases = Object.keys(families).flatMap((name) =>
  (["llama", "gpt_oss"].includes(name) ? allTypes : types).map((dtype) => ({ name, dtype })),
);

describe.skipIf(!installed)("logits of converted files", () => {
  test.each(cases)("agree with llama.cpp's for $name in $dtype", async ({ name, dtype }) => {
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf(name), file, { dtype });
    const peer = await peers.of(file);
    await using exact = await LanguageModel.load(file, { quantizedActivations: "f32", cacheDtype: "f32" });
    await using rounded = await LanguageModel.load(file);
    const last = async (model: LanguageModel, ids: number[]) => (await model.logits(ids, { last: true }))[0]!;
    // llama.cpp chooses longrope's factors by the maximum context, heddle by the current length.
    const asked = name.includes("longrope") ? prompts.slice(2) : prompts;
    let [theirs, ours] = [0, 0];
    for (const ids of asked) {
      const want = await last(exact, ids);
      theirs += apart(await peer.logits(ids), want) / asked.length;
      ours += apart(await last(rounded, ids), want) / asked.length;
    }
    // Both programs round the activations that quantized weights multiply. For k-quants, 256 activations share a scale in llama.cpp, but 32 in
    // heddle. So llama.cpp's error is up to √8 times as large where a few values dominate. Its caches, its GELU table and the activations that
    // f16 weights multiply are in f16 (2^-11).
    const times = dtype.endsWith("_k") ? 2 * Math.sqrt(8) : 3;
    expect(theirs).toBeLessThan(dtype === "f32" || dtype === "f16" ? 4 * 2 ** -11 : times * ours);
  });
});

describe.skipIf(!installed)("the rounding error", () => {
  const random = generator(5);
  const asked = Array.from({ length: 64 }, (_, i) =>
    Array.from({ length: 1 + ((i * 5) % 24) }, () => 3 + Math.floor(random() * 310)),
  );
  const files: [string, object, (i: number) => QuantizedDType | undefined][] = [
    ...quantizedTypes.map((dtype) => [dtype, {}, () => dtype] as [string, object, () => QuantizedDType]),
    [
      "types mixed, with biases and tied matrices",
      { attentionBias: true, mlpBias: true, tieWordEmbeddings: true },
      (i) => [...quantizedTypes, undefined][(i * 5 + 3) % (quantizedTypes.length + 1)],
    ],
  ];

  // The reference has activations and cache in f32. Its error is a thousandth of the errors compared here
  // (test/inference/whole-models/quantized.test.ts).
  // The ratio of two programs' errors is partly chance: it varies by 20 % for one prompt, and by 2 to 3 % in the geometric mean over these
  // prompts.
  test.each(files)("is less than 5 % above that of llama.cpp for %s", async (_, config, typeOf) => {
    const folder = join(temporaryFolder(), "model");
    const sizes = { hiddenSize: 512, intermediateSize: 768, numHiddenLayers: 3, numAttentionHeads: 8 };
    await using model = tinyModel(
      { tokenizer: await tinyTokenizer() },
      { ...sizes, maxPositionEmbeddings: 512, initializerRange: 1 / 16, ...config },
    );
    await model.save(folder);
    const file = await randomGguf(folder, typeOf);
    const peer = await peers.of(file);
    await using exact = await LanguageModel.load(file, { quantizedActivations: "f32" });
    await using rounded = await LanguageModel.load(file);
    let ratio = 0;
    for (const ids of asked) {
      const [want] = await exact.logits(ids, { last: true });
      const [got] = await rounded.logits(ids, { last: true });
      const ours = apart(got!, want!);
      expect(ours).toBeGreaterThan(0);
      ratio += Math.log(ours / apart(await peer.logits(ids), want!)) / asked.length;
    }
    expect(Math.exp(ratio)).toBeLessThan(1.05);
  });
});

const scaled = { "llama.rope.scaling.factor": f32(4) };
const freqs = ropeFreqs(Array.from({ length: 32 }, (_, i) => 1 + i / 5));
describe.skipIf(!installed)("GGUF files of other programs", () => {
  test.each([
    ["olmo2", "OLMo 3's window", { "olmo2.attention.sliding_window": u32(20) }, []],
    ["gemma3_text", "a pattern of sliding layers", { "gemma3.attention.sliding_window_pattern": u32(3) }, []],
    ["llama", "a RoPE scaling factor without a scaling type", scaled, []],
    ["llama", "linear scaling with a factor tensor", { ...scaled, "llama.rope.scaling.type": text("linear") }, [freqs]],
    ["llama", "no scaling with a factor tensor", { ...scaled, "llama.rope.scaling.type": text("none") }, [freqs]],
  ])("give llama.cpp's logits for %s with %s", async (name, _what, changes, added) => {
    const plain = join(temporaryFolder(), "model.gguf");
    await convertModel(await folderOf(name, { numHiddenLayers: 5 }), plain, { dtype: "f32" });
    const file = await withoutHeddleKeys(plain, changes, added);
    const peer = await peers.of(file);
    await using model = await LanguageModel.load(file);
    const ids = prompts[2]!;
    const [want] = await model.logits(ids, { last: true });
    expect(apart(await peer.logits(ids), want!)).toBeLessThan(4 * 2 ** -11);
    const unchanged = await peers.of(plain);
    expect(apart(await unchanged.logits(ids), want!)).toBeGreaterThan(0.05);
  });
});

test.skipIf(!installed)("llama.cpp fails where a note says that it cannot open or compute the file", async () => {
  const plain = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf("llama"), plain, { dtype: "f32" });
  for (const [name, more] of [
    ["phi3", { attentionBias: true }],
    ["smollm3", { mlpBias: true }],
    ["olmo2", { tieWordEmbeddings: true }],
    ["olmo3", { layerTypes: ["full_attention", "full_attention"], numHiddenLayers: 2 }],
    ["qwen2", { headDim: 32 }],
    ["gpt_neox", { tieWordEmbeddings: true }],
    ["starcoder2", { attentionBias: false }],
    ["glm", { headDim: 32 }],
    ["glm4", { mlpBias: true }],
    ["ernie4_5", { mlpBias: true }],
    ["exaone4", { headDim: 32 }],
    ["seed_oss", { mlpBias: true }],
    ["phi", { attentionBias: false }],
    ["phi", { tieWordEmbeddings: true }],
    ["phi", { headDim: 32 }],
    ["stablelm", { headDim: 32 }],
    ["stablelm", { mlpBias: true }],
    ["stablelm", { tieWordEmbeddings: true }],
    ["hunyuan_v1_dense", { mlpBias: true }],
    ["exaone4", { attentionBias: true }],
    ["cohere", { tieWordEmbeddings: false }],
    ["cohere", { useQkNorm: true }],
    ["cohere2", { attentionBias: true, slidingWindow: 20 }],
    ["gpt_neox", { attentionBias: false }],
    ["qwen2", { ropeScaling: (families["llama with llama3 scaling"] as { ropeScaling: object }).ropeScaling }],
    [
      "smollm3",
      {
        ropeScaling: (families["llama with longrope, beyond the original context"] as { ropeScaling: object })
          .ropeScaling,
      },
    ],
    ["qwen2_moe", { headDim: 32 }],
    ["qwen2_moe", { tieWordEmbeddings: true }],
    ["qwen2_moe", { mlpOnlyLayers: [0] }],
    ["olmoe", { attentionBias: true }],
    ["olmoe", { numKeyValueHeads: 2 }],
    ["olmoe", { tieWordEmbeddings: true }],
    ["olmoe", { headDim: 32 }],
  ] as const) {
    const file = join(temporaryFolder(), "model.gguf");
    const { notes } = await convertModel(await folderOf(name, more), file, { dtype: "f32" });
    expect(notes?.join()).toMatch(/cannot open|cannot run/);
    await peers.of(plain); // a llama.cpp process that rejects its first file would exit
    const opened = peers.of(file).then((its) => its.logits([5, 6]));
    await expect(opened, name).rejects.toThrow();
  }
});

test.skipIf(!installed)("llama.cpp opens the parts of a model that heddle opens", async () => {
  const plain = join(temporaryFolder(), "model.gguf");
  await convertModel(await folderOf("llama"), plain, { dtype: "f32" });
  const [first, , last] = await splitGguf(plain, 3);
  const peer = await peers.of(first!);
  await using model = await LanguageModel.load(last!);
  const [want] = await model.logits(prompts[2]!, { last: true });
  expect(apart(await peer.logits(prompts[2]!), want!)).toBeLessThan(4 * 2 ** -11);
});

describe.skipIf(!installed || !fixtures).each(["stories260K", "default"])("the greedy text of %s", (name) => {
  test.each(["f32", "bf16", "q8_0", "q6_k"] as const)("equals llama.cpp's in %s", async (dtype) => {
    const file = join(temporaryFolder(), "trained.gguf");
    await convertModel(name === "default" ? defaultModel : join(fixtures!, name), file, { dtype });
    const peer = await peers.of(file);
    await using model = await LanguageModel.load(file);
    const prompt = [...model.tokenizer!.encode("Once upon a time")];
    const ids = [...prompt];
    for (let i = 0; i < 40; i++) {
      const logits = await peer.logits(ids);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    const { tokens } = await model.complete(prompt, { maxTokens: 40, temperature: 0, ignoreEos: true });
    expect(model.tokenizer!.decode(tokens)).toBe(model.tokenizer!.decode(ids.slice(prompt.length)));
  });
});
