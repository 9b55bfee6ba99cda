// NomicBERT against plain loops in double precision, following modeling_hf_nomic_bert.py.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readModelConfig } from "../../lib/formats/model-files.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { encoderFolder } from "../convert/gguf-encoders/encoder-files.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { maxDifference } from "../helpers/max-difference.ts";

const sizes = { hiddenSize: 24, intermediateSize: 40, numHiddenLayers: 2, numAttentionHeads: 3 };
const config = { modelType: "nomic_bert", vocabSize: 61, initializerRange: 0.3, ...sizes };
const sequences = [
  [7, 0, 23, 60, 5, 5, 41, 12, 33, 8, 19],
  [3, 58, 14],
];

type Rows = number[][];
type Weights = (name: string) => Float32Array;

const product = (x: Rows, w: Float32Array): Rows =>
  x.map((row) =>
    Array.from({ length: w.length / row.length }, (_, o) =>
      row.reduce((sum, v, i) => sum + v * w[o * row.length + i]!, 0),
    ),
  );
const plus = (a: Rows, b: Rows): Rows => a.map((row, r) => row.map((v, i) => v + b[r]![i]!));

function norm(x: Rows, weights: Weights, name: string): Rows {
  const [w, b] = [weights(`${name}.weight`), weights(`${name}.bias`)];
  return x.map((row) => {
    const mean = row.reduce((sum, v) => sum + v, 0) / row.length;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / row.length;
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-12)) * w[i]! + b[i]!);
  });
}

/** RoPE on halves of a head with θ 1000. */
function turned(head: number[], position: number): number[] {
  const half = head.length / 2;
  return head.map((v, i) => {
    const angle = position * 1000 ** (-(i % half) / half);
    const other = i < half ? -head[i + half]! : head[i - half]!;
    return v * Math.cos(angle) + other * Math.sin(angle);
  });
}

function attention(qkv: Rows, width: number, heads: number): Rows {
  const size = width / heads;
  const part = (which: number, h: number) =>
    qkv.map((row) => row.slice(which * width + h * size, which * width + (h + 1) * size));
  const outs = Array.from({ length: heads }, (_, h) => {
    const [q, k] = [0, 1].map((which) => part(which, h).map(turned)) as [Rows, Rows];
    const v = part(2, h);
    return q.map((row) => {
      const scores = k.map((key) => key.reduce((sum, x, i) => sum + x * row[i]!, 0) / Math.sqrt(size));
      const most = Math.max(...scores);
      const powers = scores.map((s) => Math.exp(s - most));
      const sum = powers.reduce((a, b) => a + b, 0);
      return v[0]!.map((_, i) => powers.reduce((out, p, t) => out + (p / sum) * v[t]![i]!, 0));
    });
  });
  return qkv.map((_, t) => outs.flatMap((rows) => rows[t]!));
}

function hidden(ids: number[], weights: Weights): Rows {
  const { hiddenSize: width, numAttentionHeads: heads } = sizes;
  const words = weights("embeddings.word_embeddings.weight");
  const kind = weights("embeddings.token_type_embeddings.weight");
  const embedded = ids.map((id) => Array.from({ length: width }, (_, i) => words[id * width + i]! + kind[i]!));
  let x = norm(embedded, weights, "emb_ln");
  for (let i = 0; i < sizes.numHiddenLayers; i++) {
    const of = (name: string) => weights(`encoder.layers.${i}.${name}.weight`);
    const said = product(attention(product(x, of("attn.Wqkv")), width, heads), of("attn.out_proj"));
    const between = norm(plus(said, x), weights, `encoder.layers.${i}.norm1`);
    const [up, gate] = [product(between, of("mlp.fc11")), product(between, of("mlp.fc12"))];
    const inner = up.map((row, r) => row.map((v, c) => (v * gate[r]![c]!) / (1 + Math.exp(-gate[r]![c]!))));
    x = norm(plus(product(inner, of("mlp.fc2")), between), weights, `encoder.layers.${i}.norm2`);
  }
  return x;
}

test("hidden states of a batch equal the reference", async () => {
  await using model = await LanguageModel.load(await encoderFolder(config, false));
  const tensors = new Map<string, Float32Array>();
  for (const name of model.model.weightNames) tensors.set(name, await model.model.weight(name).toFloat32());
  const got = await pooledOutputs(model.model, sequences, { pooling: "all", contextLength: 32 });
  for (const [s, ids] of sequences.entries()) {
    const want = hidden(ids, (name) => tensors.get(name)!).flat();
    const range = Math.max(...want) - Math.min(...want);
    expect(maxDifference(want, got[s]!)).toBeLessThan(1e-5 * range);
  }
});

const published = {
  model_type: "nomic_bert",
  architectures: ["NomicBertModel"],
  activation_function: "swiglu",
  causal: false,
  hidden_act: "silu",
  hidden_size: 768,
  layer_norm_epsilon: 1e-12,
  max_position_embeddings: 2048,
  mlp_fc1_bias: false,
  n_embd: 768,
  n_head: 12,
  n_inner: 3072,
  n_layer: 12,
  n_positions: 8192,
  prenorm: false,
  qkv_proj_bias: false,
  rotary_emb_base: 1000,
  rotary_emb_fraction: 1,
  rotary_emb_scale_base: null,
  rotary_scaling_factor: null,
  type_vocab_size: 2,
  vocab_size: 30528,
};

test("reads the published config.json and rejects unsupported options", async () => {
  const of = (changes: object) => {
    const folder = temporaryFolder();
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "config.json"), JSON.stringify({ ...published, ...changes }));
    return readModelConfig(folder);
  };
  expect(await of({})).toMatchObject({
    hiddenSize: 768,
    numAttentionHeads: 12,
    numHiddenLayers: 12,
    intermediateSize: 3072,
    maxPositionEmbeddings: 8192,
    ropeTheta: 1000,
    layerNormEpsilon: 1e-12,
    hiddenAct: "silu",
  });
  for (const [key, value] of Object.entries({
    activation_function: "gelu",
    prenorm: true,
    qkv_proj_bias: true,
    rotary_emb_fraction: 0.5,
    rotary_emb_interleaved: true,
    rotary_scaling_factor: 2,
    moe_every_n_layers: 2,
    causal: true,
  }))
    await expectError(
      () => of({ [key]: value }),
      "UNSUPPORTED",
      new RegExp(`config.json: ${key}: .* is not supported`),
    );
});
