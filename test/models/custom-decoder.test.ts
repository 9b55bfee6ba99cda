// Custom families on the shared decoder: defaults equal a built-in family, and each option has the documented effect.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import "../../examples/custom-decoder.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { glu } from "../../lib/graph/index.ts";
import { type DecoderFamily, decoderFamily, registerFamily } from "../../lib/graph-entry.ts";
import { convertModel, createModel, LanguageModel, type ModelConfigInput, sft } from "../../lib/index.ts";
import { withoutHeddleKeys } from "../convert/foreign-gguf.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { failureOf, sentences, tinyTokenizer } from "../inference/helpers.ts";

const sizes = { hiddenSize: 32, numHiddenLayers: 3, numAttentionHeads: 4, numKeyValueHeads: 2, vocabSize: 320 };
const ids = [5, 17, 240, 99, 3, 17, 240, 60, 71, 300];

/** Returns the logits of a new model. A weight's values depend on the seed and its name, so families with the same names have the same weights. */
async function logitsOf(modelType: string, more: Partial<ModelConfigInput> = {}) {
  await using model = createModel(
    { modelType, ...sizes, maxPositionEmbeddings: 64, initializerRange: 0.3, ...more },
    { seed: 5 },
  );
  return (await model.logits(ids)).map((row) => [...row]);
}

describe("decoderFamily", () => {
  const gated: DecoderFamily["feedForward"] = {
    weights: ({ hiddenSize, intermediateSize }) => ({
      "gate_proj.weight": { shape: [intermediateSize, hiddenSize], init: "normal" },
      "up_proj.weight": { shape: [intermediateSize, hiddenSize], init: "normal" },
      "down_proj.weight": { shape: [hiddenSize, intermediateSize], init: "residual" },
    }),
    forward: (context, x, prefix) =>
      context.linear(
        glu(context.linear(x, `${prefix}.gate_proj`), context.linear(x, `${prefix}.up_proj`)),
        `${prefix}.down_proj`,
      ),
  };
  test.each<[string, DecoderFamily | undefined, string, Partial<ModelConfigInput>]>([
    ["no options", undefined, "llama", {}],
    ["head norms", { flags: { queryNorm: "head" } }, "qwen3", { headDim: 8 }],
    ["norms after blocks", { flags: { norms: "after", queryNorm: "width" } }, "olmo2", {}],
    ["fused projections", { flags: { fused: true } }, "phi3", {}],
    [
      "scales of values and logits",
      {
        shape: () => ({ embeddingScale: 3, residualScale: 0.5, attentionScale: 0.25 }),
        logits: () => ({ scale: 0.5 }),
      },
      "granite",
      { embeddingMultiplier: 3, residualMultiplier: 0.5, attentionMultiplier: 0.25, logitsScaling: 2 },
    ],
    [
      "layers without RoPE",
      { shape: (_, { rotary }) => ({ rotary: (layer) => (layer === 1 ? undefined : rotary(layer)) }) },
      "smollm3",
      { noRopeLayers: [1, 0, 1], tieWordEmbeddings: false },
    ],
    [
      "undefined options",
      {
        flags: { norms: undefined, names: { attention: undefined }, qkvBias: undefined },
        shape: () => ({ eps: undefined, activation: undefined, rotary: undefined, residualScale: undefined }),
        logits: () => ({ scale: undefined, softcap: undefined }),
      },
      "llama",
      { hiddenAct: "gelu" },
    ],
    ["a custom function for the default feed-forward block", { feedForward: gated }, "llama", {}],
  ])("gives the logits of the built-in family with %s", async (name, options, builtIn, config) => {
    const modelType = name.replace(/\W/g, "_");
    const { rmsNormEps, ropeTheta } = createModel({ modelType: builtIn, ...sizes, ...config }).config;
    registerFamily({
      ...{ modelType, architecture: `${modelType}ForCausalLM`, defaults: { rmsNormEps, ropeTheta } },
      ...decoderFamily(options),
    });
    const { noRopeLayers: _, ...same } = config; // the custom family selects these layers by its `shape` option instead
    const got = await logitsOf(modelType, same);
    expect(got).toEqual(await logitsOf(builtIn, config));
    if (builtIn !== "llama") expect(got).not.toEqual(await logitsOf("llama", config));
  });

  test("custom config values determine the shape", async () => {
    registerFamily({
      modelType: "scaled",
      architecture: "ScaledForCausalLM",
      custom: { blockScale: 1 },
      ...decoderFamily<{ blockScale: number }>({ shape: ({ custom }) => ({ residualScale: custom.blockScale }) }),
    });
    const granite = await logitsOf("granite", { residualMultiplier: 0.5, attentionMultiplier: 8 ** -0.5 });
    expect(await logitsOf("scaled", { custom: { blockScale: 0.5 } })).toEqual(granite);
    expect(await logitsOf("scaled")).toEqual(await logitsOf("llama"));
  });

  test("rejects misspelt options and invalid return values, and names them", async () => {
    const refused = async (options: object) => (await failureOf(() => decoderFamily(options))).message;
    expect(await refused({ flgas: {} })).toBe(
      "decoderFamily.flgas: expected a known name (nearest: flags), got an unknown one",
    );
    expect(await refused({ flags: { queryNorm: "heads" } })).toBe(
      'decoderFamily.flags.queryNorm: expected one of head, head after rope, each head, width, got "heads"',
    );
    expect(await refused({ feedForward: { forward: () => undefined } })).toBe(
      "decoderFamily.feedForward.weights: expected a function, got undefined",
    );
    const made = async (modelType: string, options: DecoderFamily) => {
      registerFamily({ modelType, architecture: "X", ...decoderFamily(options) });
      return (await failureOf(() => logitsOf(modelType))).message;
    };
    expect(await made("wrong1", { shape: () => ({ residualScal: 1 }) as object })).toBe(
      "decoderFamily.shape.residualScal: expected a known name (nearest: residualScale), got an unknown one",
    );
    expect(await made("wrong2", { feedForward: { ...gated!, forward: () => undefined as never } })).toBe(
      "decoderFamily.feedForward.forward: result: expected a value (rows, hiddenSize), got undefined",
    );
    expect(await made("wrong3", { feedForward: { ...gated!, weights: () => [] as never } })).toBe(
      "decoderFamily.feedForward.weights: result: expected an object, got []",
    );
  });
});

describe("the example: Llama with a squared ReLU", () => {
  const folder = temporaryFolder();
  const { vocabSize: _, ...others } = sizes;
  const config = { modelType: "squared_llama", ...others, maxPositionEmbeddings: 64 };

  test("computes down(relu(up(x))²), checked with attention disabled", async () => {
    const one = { ...sizes, numHiddenLayers: 1, initializerRange: 0.5 };
    await using base = createModel({ modelType: "squared_llama", ...one }, { seed: 5 });
    const { model } = base;
    const silent = model.weight("model.layers.0.self_attn.o_proj.weight");
    await silent.writeOwn(new Float32Array(silent.elements));
    const weight = async (name: string) => {
      const { shape } = model.weight(`${name}.weight`);
      const values = await model.weight(`${name}.weight`).toFloat32();
      return Array.from({ length: shape[0]! }, (_, i) => [...values.subarray(i * shape[1]!, (i + 1) * shape[1]!)]);
    };
    const product = (matrix: number[][], x: number[]) => matrix.map((row) => row.reduce((n, w, i) => n + w * x[i]!, 0));
    const norm = (x: number[]) => {
      const root = Math.sqrt(x.reduce((n, v) => n + v * v, 0) / x.length + base.config.rmsNormEps);
      return x.map((v) => v / root);
    };
    const embedded = (await weight("model.embed_tokens"))[7]!;
    const up = product(await weight("model.layers.0.mlp.up_proj"), norm(embedded));
    const squared = up.map((v) => Math.max(0, v) ** 2);
    const down = product(await weight("model.layers.0.mlp.down_proj"), squared);
    const expected = product(await weight("lm_head"), norm(embedded.map((v, i) => v + down[i]!)));
    const [got] = await base.logits([7]);
    for (const [i, v] of expected.entries()) expect(got![i]).toBeCloseTo(v, 4);
  });

  test("trains, is saved, converted and loaded", async () => {
    const tokenizer = await tinyTokenizer();
    await using base = createModel(config, { tokenizer, seed: 3 });
    expect(base.model.weightNames.filter((name) => name.startsWith("model.layers.0.mlp"))).toEqual([
      "model.layers.0.mlp.up_proj.weight",
      "model.layers.0.mlp.down_proj.weight",
    ]);
    const losses: number[] = [];
    const data = sentences.map((text) => ({ text }));
    const path = join(folder, "out");
    for await (const event of sft(base, { data, maxSteps: 30, maxSeqLength: 32, learningRate: 5e-3, outputDir: path }))
      if ("loss" in event) losses.push(event.loss);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.7);
    const logits = await base.logits("The cat saw");
    await convertModel(path, join(folder, "x.gguf"));
    for (const place of [path, join(folder, "x.gguf")]) {
      await using loaded = await LanguageModel.load(place);
      expect(await loaded.logits("The cat saw")).toEqual(logits);
    }
  });
});

test("a custom family's GGUF layout and keys restore its config from a file without heddle's keys, null values included", async () => {
  registerFamily({
    modelType: "bounded",
    architecture: "BoundedForCausalLM",
    custom: { bound: null },
    gguf: { architecture: "bounded", layout: "rope", keys: { "attention.bound": "custom.bound" } },
    ...decoderFamily<{ bound: null }>({
      shape: ({ custom }) => (custom.bound === null ? {} : { attentionSoftcap: custom.bound }),
    }),
  });
  const folder = join(temporaryFolder(), "folder");
  for (const bound of [null, 0.5]) {
    await using made = createModel(
      { modelType: "bounded", ...sizes, maxPositionEmbeddings: 64, initializerRange: 0.3, custom: { bound } },
      { tokenizer: await tinyTokenizer(), seed: 5 },
    );
    await made.save(folder);
    expect(JSON.parse(await readFile(join(folder, "config.json"), "utf8")).bound).toBe(bound);
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file);
    await using read = await LanguageModel.load(await withoutHeddleKeys(file));
    expect(read.config.custom).toEqual({ bound });
    expect(await read.logits(ids)).toEqual(await made.logits(ids));
    const { file: mapped, entries, metadata } = await openGguf(file);
    expect(metadata.real("bounded.attention.bound")).toBe(bound ?? undefined);
    const { offset, bytes } = entries.get("blk.0.attn_q.weight")!;
    const rows = new Float32Array(mapped.bytes(offset, bytes));
    // The layout "rope" interleaves the halves of a head of 8: row 1 of the file is row 4 of the folder, the first of the second half.
    const stored = await made.model.weight("model.layers.0.self_attn.q_proj.weight").toFloat32();
    expect(rows.subarray(32, 64)).toEqual(stored.subarray(4 * 32, 5 * 32));
    mapped.close();
  }
  expect((await failureOf(() => createModel({ modelType: "bounded", ...sizes, custom: { bound: "a" } }))).message).toBe(
    'model configuration: custom.bound: expected a number or null, got "a"',
  );
});
