// llama.cpp gives the same tokens, and the same vectors up to rounding, for converted encoders.
// Needs node-llama-cpp below HEDDLE_BENCH_LLAMA.
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import {
  encoderFolder,
  robertaTokenizer,
  texts,
  unigramFile,
  xlmRobertaTokenizer,
} from "./gguf-encoders/encoder-files.ts";
import { onePeer } from "./llama-cpp-peer.ts";

const installed = process.env.HEDDLE_BENCH_LLAMA !== undefined;
if (!installed) console.warn("HEDDLE_BENCH_LLAMA is not set: no encoder's file is compared with llama.cpp");

const peers = onePeer();
afterAll(peers.close);

const apart = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.hypot(...Array.from(a, (v, i) => v - b[i]!)) / Math.hypot(...Array.from(b));

/** llama.cpp always approximates GELU by tanh. */
const tanh = { hiddenAct: "gelu_pytorch_tanh" };
const raw = (pooling: string) => ({ embedding: { pooling, normalize: false } });
const modern = { modelType: "modernbert", slidingWindow: 8, numHiddenLayers: 5, ...tanh };
const families: Record<string, object> = {
  "bert, mean": { ...tanh, ...raw("mean") },
  "bert, first": { ...tanh, ...raw("first") },
  "bert, last": { ...tanh, ...raw("last") },
  // The two GELUs differ by up to 5e-4.
  "bert as published": raw("mean"),
  "bert without a pooling key": tanh,
  "distilbert, mean": { modelType: "distilbert", ...tanh, ...raw("mean") },
  "nomic_bert, mean": { modelType: "nomic_bert", ...raw("mean") },
  "modernbert, mean": { ...modern, ...raw("mean") },
  "modernbert, first, with another pattern of sliding layers": {
    ...modern,
    ...raw("first"),
    layerTypes: ["full_attention", "sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
  },
  "modernbert, SwiGLU": { ...modern, hiddenAct: "silu", ...raw("mean") },
};
const types = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"] as const;
const some = ["f32", "q8_0"] as const;
const cases = Object.keys(families).flatMap((name) =>
  (["bert, mean", "nomic_bert, mean", "modernbert, mean"].includes(name) ? types : some).map((dtype) => ({
    name,
    dtype,
  })),
);

describe.skipIf(!installed)("vectors of converted encoders", () => {
  test.each(cases)("agree with llama.cpp's for $name in $dtype", async ({ name, dtype }) => {
    const file = join(temporaryFolder(), "encoder.gguf");
    await convertModel(await encoderFolder(families[name]), file, { dtype });
    const peer = await peers.of(file);
    await using exact = await LanguageModel.load(file, { quantizedActivations: "f32" });
    await using rounded = await LanguageModel.load(file);
    let [theirs, ours] = [0, 0];
    for (const text of texts) {
      const ids = [...exact.tokenizer!.encode(text)];
      // llama.cpp's vectors are not normalized.
      const want = await exact.embed(ids, { normalize: false });
      theirs += apart(await peer.embed(ids), want) / texts.length;
      ours += apart(await rounded.embed(ids, { normalize: false }), want) / texts.length;
    }
    // As in llama-cpp.test.ts: llama.cpp's GELU table is in f16, and 256 activations share a scale if k-quants multiply them.
    const times = dtype.endsWith("_k") ? 2 * Math.sqrt(8) : 3;
    expect(theirs).toBeLessThan(dtype === "f32" || dtype === "f16" ? 4 * 2 ** -11 : times * ours);
  });

  test("agree with llama.cpp's for texts instead of ids", async () => {
    const file = join(temporaryFolder(), "encoder.gguf");
    await convertModel(await encoderFolder({ ...tanh, ...raw("mean") }), file, { dtype: "f32" });
    const peer = await peers.of(file);
    await using model = await LanguageModel.load(file);
    for (const text of texts.slice(0, 3))
      expect(apart(await peer.embed(text), await model.embed(text))).toBeLessThan(4 * 2 ** -11);
  });
});

test.skipIf(!installed).each([
  ["bert", "first", {}],
  ["roberta", "first", {}],
  ["modernbert", "mean", modern],
])("a classifier's scores agree with llama.cpp's: %s", async (modelType, pooling, more) => {
  const classifier = { task: "sequence", labels: ["a", "b", "c"], pooling };
  const folder = await encoderFolder({ ...tanh, ...more, modelType, classifier });
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(folder, file, { dtype: "f32" });
  const peer = await peers.of(file);
  await using model = await LanguageModel.load(file);
  for (const text of texts.slice(0, 3)) {
    const ids = [...model.tokenizer!.encode(text)];
    const { probabilities } = await model.classify(ids);
    const scores = (await peer.embed(ids)).map(Math.exp);
    const sum = scores.reduce((a, b) => a + b, 0);
    expect(
      apart(
        scores.map((v) => v / sum),
        Object.values(probabilities),
      ),
    ).toBeLessThan(4 * 2 ** -11);
  }
});

test.skipIf(!installed)("tokens agree with llama.cpp's, except where llama.cpp differs from BERT", async () => {
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder(), file, { dtype: "f32" });
  const peer = await peers.of(file);
  await using model = await LanguageModel.load(file);
  const differ: string[] = [];
  for (const text of texts) {
    const theirs = await peer.tokenize(text);
    if (String(theirs) !== String([...model.tokenizer!.encode(text)].slice(1, -1))) differ.push(text);
  }
  // llama.cpp decomposes accented letters but not Hangul syllables, and has no limit on a word's length.
  expect(differ).toEqual([texts[3], texts[11]]);
  for (const [i, other] of ["日本語 and 東京の猫;", "ran".repeat(33)].entries())
    expect(await peer.tokenize(other), texts[3 + 8 * i]).toEqual([...model.tokenizer!.encode(other)].slice(1, -1));
});

test.skipIf(!installed)("an XLM-RoBERTa vocabulary gives llama.cpp's tokens and vectors", async () => {
  // The test's vocabulary has byte pieces, which published Unigram models lack and llama.cpp ignores. Type 1 marks them as ordinary
  // pieces.
  const file = await unigramFile((folder, plain) => convertModel(folder, plain, { dtype: "f32" }), 1);
  const peer = await peers.of(file);
  await using model = await LanguageModel.load(file);
  const differ: string[] = [];
  for (const text of texts) {
    const ids = [...model.tokenizer!.encode(text)];
    if (String(await peer.tokenize(text)) !== String(ids.slice(1, -1))) differ.push(text);
    expect(apart(await peer.embed(ids), await model.embed(ids))).toBeLessThan(4 * 2 ** -11);
  }
  expect(differ).toEqual([]);
});

test.skipIf(!installed).each([
  ["roberta", robertaTokenizer],
  ["xlm-roberta", xlmRobertaTokenizer],
])("tokens, special tokens and vectors of %s agree with llama.cpp's", async (modelType, tokenizerOf) => {
  const tokenizer = await tokenizerOf();
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(await encoderFolder({ modelType, ...tanh, ...raw("mean") }, tokenizer), file, { dtype: "f32" });
  const peer = await peers.of(file);
  await using model = await LanguageModel.load(file);
  // The small character map here does not treat a carriage return as a space.
  for (const text of texts.map((text) => text.replace("\r", ""))) {
    const ids = [...model.tokenizer!.encode(text)];
    expect(await peer.tokenize(text), text).toEqual(ids.slice(1, -1));
    const want = await model.embed(ids);
    expect(apart(await peer.embed(ids), want)).toBeLessThan(4 * 2 ** -11);
    // node-llama-cpp adds no beginning token for Unigram vocabularies, whatever the file says.
    if (modelType === "roberta") expect(apart(await peer.embed(text), want)).toBeLessThan(4 * 2 ** -11);
  }
});

test.skipIf(!installed)("llama.cpp fails where a note says that it cannot open or run the file", async () => {
  const layerTypes = Array(5).fill("full_attention");
  for (const more of [{ attentionBias: true }, { mlpBias: true }, { layerTypes }]) {
    const file = join(temporaryFolder(), "encoder.gguf");
    const { notes } = await convertModel(await encoderFolder({ ...modern, ...raw("mean"), ...more }), file);
    expect(notes?.join()).toMatch(/cannot open|cannot run/);
    await expect(
      peers.of(file).then((opened) => opened.embed([2, 9, 3])),
      JSON.stringify(more),
    ).rejects.toThrow();
    peers.close();
  }
});
