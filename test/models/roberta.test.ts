// RoBERTa-like models, whose positions start after the padding id: configurations, files and text lengths.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { input, mul, sum } from "../../lib/graph/index.ts";
import { pooledOutputs } from "../../lib/language-model/embed/text-forward.ts";
import { createModel, LanguageModel } from "../../lib/language-model/index.ts";
import type { Stage } from "../../lib/train/loop/stage.ts";
import { TrainStep } from "../../lib/train/loop/step.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { writeFamily } from "../golden/families.ts";
import { goldens, maxError, rangeOf, read, trunkOf } from "./encoder-goldens.ts";

const golden = goldens.find(({ name }) => name === "roberta")!;
const { architectures: _, ...config } = golden.config;
const trunk = trunkOf(golden);

test("max_position_embeddings of config.json includes the positions up to the padding id, maxPositionEmbeddings does not", async () => {
  await using model = await LanguageModel.load(await writeFamily(trunk, temporaryFolder()));
  expect(model.config.maxPositionEmbeddings).toBe(24);
  expect(model.contextLength).toBe(24);
  const longest = golden.sequences.at(-1)!;
  expect(longest.length).toBe(24);
  await model.embed(longest);
  await expectError(
    () => model.embed([...longest, 5]),
    "CONTEXT_OVERFLOW",
    /expected at most 24 tokens, the context length, got 25/,
  );
  const saved = temporaryFolder();
  await model.save(saved);
  expect(JSON.parse(readFileSync(join(saved, "config.json"), "utf8"))).toMatchObject({
    architectures: ["RobertaModel"],
    max_position_embeddings: 26,
    pad_token_id: 1,
    type_vocab_size: 1,
    layer_norm_eps: 1e-5,
  });
});

test("uses the transformers class's defaults for missing keys", () => {
  const { max_position_embeddings: __, pad_token_id: ___, type_vocab_size, layer_norm_eps, ...less } = config;
  expect(parseModelConfig(less, "config.json")).toMatchObject({
    maxPositionEmbeddings: 510,
    padTokenId: 1,
    typeVocabSize: 2,
    layerNormEpsilon: 1e-12,
  });
  expect(parseModelConfig({ ...config, pad_token_id: null }, "config.json").padTokenId).toBe(1);
  expect(parseModelConfig({ ...config, pad_token_id: 0 }, "config.json").maxPositionEmbeddings).toBe(25);
  const made = { modelType: "roberta", vocabSize: 64, hiddenSize: 64, numHiddenLayers: 1 };
  expect(parseModelConfig(made)).toMatchObject({ maxPositionEmbeddings: 512, padTokenId: 1, typeVocabSize: 1 });
});

test("rejects too few positions, a padding id that needs too much memory, and unsupported options", async () => {
  const of = (changes: object) => () => parseModelConfig({ ...config, ...changes }, "config.json");
  const few = /config.json: max_position_embeddings: expected more than pad_token_id 1 \+ 1, got 2$/;
  await expectError(of({ max_position_embeddings: 2 }), "INVALID_FILE", few);
  // The largest padding id that a configuration allows.
  const far = { padTokenId: 2 ** 31 - 1, vocabSize: 64, hiddenSize: 64, numHiddenLayers: 1 };
  await expectError(() => createModel({ modelType: "roberta", ...far }), "OUT_OF_MEMORY", /memory/);
  await expectError(
    of({ position_embedding_type: "relative_key" }),
    "UNSUPPORTED",
    /position_embedding_type: .* is not supported/,
  );
  await expectError(of({ is_decoder: true }), "UNSUPPORTED", /is_decoder/);
  await expectError(of({ hidden_act: "relu" }), "UNSUPPORTED", /hidden_act "relu" is not known/);
});

test("loads checkpoints whose names lack the prefix roberta., or that have the pooler of old classifiers", async () => {
  const bare = Object.fromEntries(Object.keys(trunk.weights).map((name) => [name, name.replace(/^roberta\./, "")]));
  const folder = await writeFamily(trunk, temporaryFolder());
  await using plain = await LanguageModel.load(folder);
  const source = await openWeights(folder);
  const tensors = source.names().map((name) => {
    const { dtype, shape, file, offset, bytes } = source.tensor(name);
    return { name: bare[name]!, dtype, shape, bytes: new Uint8Array(file.bytes(offset, bytes)).slice() };
  });
  source.close();
  const pooled = { name: "pooler.dense.bias", dtype: "f32" as const, shape: [1], bytes: new Uint8Array(4) };
  await saveWeights(folder, [...tensors, pooled]);
  await using other = await LanguageModel.load(folder);
  expect(await other.embed(golden.sequences)).toEqual(await plain.embed(golden.sequences));

  const pooler = { "roberta.pooler.dense.weight": [24, 24], "roberta.pooler.dense.bias": [24] };
  const old = await writeFamily({ ...golden, weights: { ...golden.weights, ...pooler } }, temporaryFolder());
  await using classifier = await LanguageModel.load(old);
  const logits = await pooledOutputs(classifier.model, golden.sequences, read(classifier));
  expect(maxError(logits[0]!, golden.logits[0]!)).toBeLessThan(1e-5 * rangeOf(golden.logits.flat()));
});

test("converts to GGUF and back as a BERT whose positions start at 0", async () => {
  const file = join(temporaryFolder(), "m.gguf");
  await convertModel(await writeFamily(golden, temporaryFolder()), file);
  const { metadata, entries, file: opened } = await openGguf(file);
  opened.close();
  expect(entries.get("position_embd.weight")!.shape).toEqual([24, 24]);
  expect(metadata.record()).toMatchObject({
    "general.architecture": "bert",
    "bert.context_length": 24,
    "bert.pooling_type": 4,
    "tokenizer.ggml.token_type_count": 1,
  });
  const back = join(temporaryFolder(), "back");
  await convertModel(file, back);
  await using model = await LanguageModel.load(back);
  expect(model.config).toMatchObject({ modelType: "bert", maxPositionEmbeddings: 24 });
  const logits = await pooledOutputs(model.model, golden.sequences, read(model));
  for (const [s, row] of golden.logits.entries())
    expect(maxError(logits[s]!, row)).toBeLessThan(1e-5 * rangeOf(golden.logits.flat()));
  const wrong = await writeFamily(
    { ...trunk, config: { ...trunk.config, max_position_embeddings: 27 } },
    temporaryFolder(),
  );
  await expectError(
    () => convertModel(wrong, file),
    "INVALID_FILE",
    /position_embeddings.weight: expected 27 rows .*, got 26/,
  );
});

test("positions given by a training stage start at 0", async () => {
  await using model = await LanguageModel.load(await writeFamily(trunk, temporaryFolder()));
  const ids = golden.sequences[0]!;
  const loss = async (positions?: Int32Array) => {
    const stage: Stage<null> = {
      name: "sum",
      count: () => 1,
      collate: () => ({
        inputs: { ids: Int32Array.from(ids), ...(positions && { positions }) },
        tokens: 1,
        counted: 1,
      }),
      loss: (context) => sum(mul(context.forward().hidden, input("factors", "f32", [ids.length, 24]))),
    };
    const factors = Float32Array.from({ length: ids.length * 24 }, (_, i) => Math.sin(i));
    const { collate } = stage;
    stage.collate = (...given) => {
      const micro = collate(...given);
      return { ...micro, inputs: { ...micro.inputs, factors } };
    };
    const step = await TrainStep.create(
      model.model,
      stage,
      { sequences: 1, sequenceLength: ids.length, dtype: "f32" },
      { names: model.model.weightNames },
    );
    const { loss } = await step.evaluate(null);
    step.dispose();
    return loss;
  };
  const counted = Int32Array.from(ids, (_, i) => i);
  expect(await loss(counted)).toBe(await loss());
  expect(await loss(counted.toReversed())).not.toBe(await loss());
});
