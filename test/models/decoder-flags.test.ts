// Every pair of the shared decoder's flags gives the logits of a reference implementation, or is rejected.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type DecoderFamily, type DecoderWeightFlags, decoderFamily, registerFamily } from "../../lib/graph-entry.ts";
import { createModel, type LanguageModel, type ModelConfigInput, sft } from "../../lib/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { failureOf, sentences, tinyTokenizer } from "../inference/helpers.ts";
import { decoderLogits, type ReferenceSizes, ReferenceWeights } from "./decoder-reference.ts";

const VALUES: { [Name in keyof Required<DecoderWeightFlags>]: DecoderWeightFlags[Name][] } = {
  norms: ["before", "around", "after"],
  normOffset: [0, 1],
  layerNorm: ["biased", "plain"],
  parallel: ["two norms", "one norm"],
  queryNorm: ["head", "head after rope", "each head", "width"],
  fused: [false, true, "gate_up", "qkv by head"],
  interleaved: [false, true],
  sinks: [false, true],
  names: [
    {
      embedding: "base.words",
      layers: "base.blocks",
      norm: "base.last",
      head: "out",
      attention: "attention",
      qkv: "qkv",
      output: "dense",
      queryNorm: "q_scale",
      keyNorm: "k_scale",
      mlp: "ffn",
      gateUp: "w13",
      down: "w2",
      beforeAttention: "norm1",
      afterAttention: "norm2",
      beforeMlp: "norm3",
      afterMlp: "norm4",
    },
  ],
  qkvBias: [false, true, "attentionBias"],
  headBias: [false, true],
};

type Flag = [name: keyof DecoderWeightFlags, value: unknown];
const flags = Object.entries(VALUES).flatMap(([name, values]) => values.map((value): Flag => [name as Flag[0], value]));
const title = ([name, value]: Flag) => `${name} ${typeof value === "object" ? "given" : value}`;
const pairs = flags.flatMap((a, i) =>
  flags
    .slice(i + 1)
    .filter(([name]) => name !== a[0])
    .map((b): [string, DecoderWeightFlags] => [
      `${title(a)}, ${title(b)}`,
      Object.fromEntries([a, b]) as DecoderWeightFlags,
    ]),
);

const sizes: ReferenceSizes = {
  width: 16,
  layers: 2,
  heads: 4,
  keyHeads: 2,
  headDim: 4,
  theta: 100,
  eps: 1e-3,
  residualScale: 1,
};
const ids = [5, 17, 30, 2, 17, 9];

let families = 0;
/** Registers a custom family with these options. */
function familyWith(options: DecoderFamily): string {
  const modelType = `decoder_flags_${families++}`;
  registerFamily({ modelType, architecture: "FlagsForCausalLM", ...decoderFamily(options) });
  return modelType;
}

function build(modelType: string, more: Partial<ModelConfigInput> = {}): LanguageModel {
  return createModel({
    modelType,
    vocabSize: 40,
    hiddenSize: sizes.width,
    intermediateSize: 24,
    numHiddenLayers: sizes.layers,
    numAttentionHeads: sizes.heads,
    numKeyValueHeads: sizes.keyHeads,
    headDim: sizes.headDim,
    maxPositionEmbeddings: 32,
    ropeTheta: sizes.theta,
    rmsNormEps: sizes.eps,
    layerNormEpsilon: sizes.eps,
    ...more,
  });
}

/** Random numbers from 0 to 1. */
function drawing(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Fills all weights with different values, so that an omitted or swapped weight is detected. */
async function filled({ model }: LanguageModel): Promise<ReferenceWeights> {
  const values = new Map<string, Float32Array>();
  const draw = drawing(1);
  for (const name of model.weightNames) {
    const tensor = model.weight(name);
    const drawn = Float32Array.from({ length: tensor.elements }, () => draw() - 0.5);
    await tensor.write(drawn);
    values.set(name, drawn);
  }
  return new ReferenceWeights(values);
}

/**
 * Relative tolerance of logits in f32, compared with a reference in f64: six standard deviations of the rounding error. Logits result from 18
 * sums in sequence: 8 in each of 2 layers, the last norm and the head. Each sum has up to 24 terms, with a rounding error of 2⁻²⁴ each.
 */
const ROUNDING = 6 * Math.sqrt((2 * 8 + 2) * 24) * 2 ** -24;

/** Compares a model with these flags with the reference, which must read every weight. */
async function compare(options: DecoderFamily, given: DecoderWeightFlags, own = sizes, config = {}): Promise<void> {
  await using model = build(familyWith(options), { numKeyValueHeads: own.keyHeads, ...config });
  const weights = await filled(model);
  const expected = decoderLogits(weights, ids, given, own);
  expect([...weights.read].sort()).toEqual([...model.model.weightNames].sort());
  const got = await model.logits(ids);
  const tolerance = ROUNDING * Math.max(...expected.flat().map(Math.abs));
  for (const [row, values] of expected.entries())
    for (const [i, value] of values.entries()) expect(Math.abs(got[row]![i]! - value)).toBeLessThan(tolerance);
}

/** The error of a combination; undefined if it works. */
function refusal({ norms, parallel }: DecoderWeightFlags): string | undefined {
  if (norms !== "after" || !parallel) return undefined;
  return 'decoderFamily.flags.parallel: expected norms "before" or "around" together with `parallel`, got "after"';
}

/** Expects a combination to equal the reference, or to be rejected. */
async function works(given: DecoderWeightFlags, config: Partial<ModelConfigInput> = {}): Promise<void> {
  const refused = refusal(given);
  if (refused !== undefined) {
    const { code, message } = await failureOf(() => decoderFamily({ flags: given }));
    expect({ code, message }).toEqual({ code: "INVALID_ARGUMENT", message: refused });
    return;
  }
  const own = given.fused === "qkv by head" ? { ...sizes, keyHeads: sizes.heads } : sizes;
  await compare({ flags: given }, given, own, config);
}

describe("flags of decoderFamily", () => {
  const folder = temporaryFolder();

  test("have exactly the values that these tests use", async () => {
    for (const [name, values] of Object.entries(VALUES)) {
      const { message } = await failureOf(() => decoderFamily({ flags: { [name]: "?" } as object }));
      if (name === "names") expect(message).toContain("expected an object");
      else if (values.length === 2 && values.some((value) => value === true))
        expect(message).toContain("expected a boolean");
      else {
        const known = /expected one of (.*), got/.exec(message)![1]!.split(", ");
        expect(known.sort()).toEqual(values.map(String).sort());
      }
    }
  });

  test.each(pairs)("compute the reference's logits or are rejected, in pairs: %s", async (_, given) => {
    await works(given);
    await works(given, { attentionBias: true, mlpBias: true });
  });

  test("compute the reference's logits or are rejected, in 200 random combinations", async () => {
    const draw = drawing(7);
    const below = (count: number) => Math.floor(draw() * count);
    let compared = 0;
    for (let i = 0; i < 200; i++) {
      const given = Object.fromEntries(
        Object.entries(VALUES).flatMap(([name, values]) => {
          const value = [undefined, ...values][below(values.length + 1)];
          return value === undefined ? [] : [[name, value]];
        }),
      ) as DecoderWeightFlags;
      if (refusal(given) === undefined) compared++;
      await works(given, { attentionBias: below(2) === 1, mlpBias: below(2) === 1 });
    }
    // Two thirds of the values of `parallel` exclude one kind of norms, which a quarter of the combinations have. So about five sixths of the
    // combinations are compared: 167, with a standard deviation of 5. The limit is five standard deviations lower.
    expect(compared).toBeGreaterThan(140);
  });

  test("work together with a scale of the block outputs", async () => {
    for (const given of pairs.map(([, pair]) => pair).filter(({ norms, parallel }) => norms ?? parallel)) {
      if (refusal(given) !== undefined || given.fused === "qkv by head") continue;
      const own = { ...sizes, residualScale: 0.5 };
      await compare({ flags: given, shape: () => ({ residualScale: 0.5 }) }, given, own);
    }
  });

  test("initialize the weights of offset layer norms to 0, and training changes them", async () => {
    const given = { layerNorm: "biased", normOffset: 1, queryNorm: "each head" } as const;
    const modelType = familyWith({ flags: given });
    const tokenizer = await tinyTokenizer();
    await using base = createModel(
      { modelType, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, maxPositionEmbeddings: 32 },
      { tokenizer },
    );
    const names = ["input_layernorm", "self_attn.q_norm"].map((name) => `model.layers.0.${name}.weight`);
    const values = async () => Promise.all(names.map((name) => base.model.weight(name).toFloat32()));
    for (const before of await values()) expect(before.every((value) => value === 0)).toBe(true);
    const data = sentences.map((text) => ({ text }));
    const outputDir = join(folder, "out");
    await sft(base, { data, maxSteps: 2, maxSeqLength: 32, learningRate: 1e-2, outputDir });
    for (const after of await values()) expect(after.some((value) => value !== 0)).toBe(true);
  });

  test("reject a per-head q, k, v projection with fewer key heads", async () => {
    const modelType = familyWith({ flags: { fused: "qkv by head" } });
    const { code, message } = await failureOf(() => build(modelType));
    expect({ code, message }).toEqual({
      code: "INVALID_ARGUMENT",
      message:
        "numKeyValueHeads: expected numAttentionHeads 4, because each head's q, k and v are in one projection, got 2",
    });
  });

  test("reject unknown names and names shared by two weights", async () => {
    const unknown = await failureOf(() => decoderFamily({ flags: { names: { atention: "x" } as object } }));
    expect(unknown.message).toBe(
      "decoderFamily.flags.names.atention: expected a known name (nearest: attention), got an unknown one",
    );
    const modelType = familyWith({ flags: { norms: "around", names: { beforeMlp: "post_attention_layernorm" } } });
    const { code, message } = await failureOf(() => build(modelType));
    expect({ code, message }).toEqual({
      code: "INVALID_ARGUMENT",
      message:
        'decoderFamily.flags.names: expected a unique name for each weight, got "model.layers.0.post_attention_layernorm.weight"',
    });
  });

  test.each([
    [{ norms: "after" }, "two norms", 'expected norms "before" or "around" in `flags`, got "after"'],
    [{ parallel: "one norm" }, "two norms", 'expected "one norm" as `flags` say, got "two norms"'],
    [{}, "one norm", 'expected "two norms" as `flags` say, got "one norm"'],
  ] as const)("reject a shape whose `parallel` contradicts the flags: %o, %s", async (given, parallel, expected) => {
    await using model = build(familyWith({ flags: given, shape: () => ({ parallel }) }));
    const { code, message } = await failureOf(() => model.logits(ids));
    expect({ code, message }).toEqual({
      code: "INVALID_ARGUMENT",
      message: `decoderFamily.shape.parallel: ${expected}`,
    });
  });
});
