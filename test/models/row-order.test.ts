// GGUF's rows of q and k are read as they lie, and are in order for whoever asks for the weights.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { LanguageModel } from "../../lib/generate/index.ts";
import { adapterTensors } from "../../lib/models/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { storedName } from "../../lib/models/widen.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { tinyModel } from "../generate/helpers.ts";

const prompt = [5, 17, 2, 301, 44, 9, 120, 7];
const q = "model.layers.0.self_attn.q_proj.weight";

/** The same model as a folder and as a GGUF file. */
async function twins(config: object = {}): Promise<{ folder: string; gguf: string }> {
  const folder = join(temporaryFolder(), "model");
  const gguf = join(temporaryFolder(), "model.gguf");
  await using model = tinyModel({}, { modelType: "llama", hiddenSize: 64, ...config });
  await model.save(folder);
  await convertModel(folder, gguf);
  return { folder, gguf };
}

const stored = (model: LanguageModel) => [...model.model.tensors.keys()].filter((name) => name.startsWith("stored/"));

async function disturb({ model }: LanguageModel, name: string) {
  for (const [i, t] of adapterTensors(model.adapters.get(name)!).entries()) {
    const tensor = model.weight(t);
    await tensor.write(uniform(tensor.elements, 0.3, generator(7 + i)));
  }
}

describe.each([
  ["llama", {}],
  ["granite", { modelType: "granite" }],
  ["mistral", { modelType: "mistral" }],
])("%s", (_, config) => {
  test("the same logits as from a folder, to the bit, while rows lie as in the file and after they are asked for", async () => {
    const { folder, gguf } = await twins(config);
    await using a = await LanguageModel.load(folder);
    await using b = await LanguageModel.load(gguf);
    expect(stored(a)).toEqual([]);
    expect(stored(b)).toHaveLength(2 * b.model.config.numHiddenLayers);
    expect(b.model.weightNames).toEqual(a.model.weightNames);
    expect(b.model.parameterCount).toBe(a.model.parameterCount);
    expect(b.model.weightBytes).toBe(a.model.weightBytes);
    const expected = await a.logits(prompt);
    expect(await b.logits(prompt)).toEqual(expected);
    const { tokens } = await a.complete(prompt, { maxTokens: 12, temperature: 0 });
    expect((await b.complete(prompt, { maxTokens: 12, temperature: 0 })).tokens).toEqual(tokens);
    // What generates asks for no copies.
    expect(b.model.tensors.has(q)).toBe(false);
    expect(await b.model.asStored(q).read()).not.toEqual(await a.model.weight(q).read());
    for (const name of a.model.weightNames)
      expect(await b.model.weight(name).read(), name).toEqual(await a.model.weight(name).read());
    expect(await b.logits(prompt)).toEqual(expected);
  });
});

test("layers that do not rotate are put in order when loaded", async () => {
  const { folder, gguf } = await twins({ modelType: "smollm3", numHiddenLayers: 4 });
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  expect(a.model.config.noRopeLayers).toEqual([1, 1, 1, 0]);
  expect(stored(b)).toHaveLength(6);
  expect(b.model.tensors.has("model.layers.3.self_attn.q_proj.weight")).toBe(true);
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
});

test("biases of q and k: their layers are put in order when loaded", async () => {
  const { folder, gguf } = await twins({ attentionBias: true });
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  expect(stored(b)).toEqual([]);
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
});

test("adapters on q and k, beside each other, merged and taken out again", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const plain = await a.logits(prompt);
  for (const m of [a, b]) {
    await m.model.addAdapter("one", { r: 4, targetModules: ["q_proj"] }, 3);
    await disturb(m, "one");
  }
  const adapted = await a.logits(prompt);
  expect(adapted).not.toEqual(plain);
  expect(await b.logits(prompt)).toEqual(adapted);
  expect(await b.logits(prompt, { adapters: [] })).toEqual(plain);
  for (const m of [a, b]) await m.model.mergeAdapter("one");
  expect(stored(b)).not.toContain(storedName(q));
  const merged = await a.logits(prompt);
  expect(await b.logits(prompt)).toEqual(merged);
  for (const m of [a, b]) m.model.unmergeAdapters();
  expect(await b.logits(prompt)).toEqual(adapted);
  b.model.setActiveAdapters([]);
  expect(await b.logits(prompt)).toEqual(plain);
});

test("an adapter that brings q whole", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const modulesToSave = ["self_attn.q_proj"];
  for (const m of [a, b]) {
    await m.model.addAdapter("whole", { r: 2, targetModules: ["v_proj"], modulesToSave }, 3);
    await disturb(m, "whole");
  }
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
});

test("weights that training took are no longer read as they lay; sessions from before go on", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  await using before = b.session();
  await before.complete(prompt, { maxTokens: 3, temperature: 0 });
  for (const m of [a, b]) {
    await m.model.prepareForTraining([q]);
    const zeros = new Float32Array(m.model.weight(q).elements);
    await m.model.weight(q).write(zeros);
  }
  expect(stored(b)).toHaveLength(2 * b.model.config.numHiddenLayers - 1);
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
  await before.complete([4], { maxTokens: 3, temperature: 0 });
});

test("a saved model is the folder's; a session goes on in a model whose weights were asked for", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const path = join(temporaryFolder(), "session.heddle");
  const greedy = { maxTokens: 6, temperature: 0, ignoreEos: true };
  await using session = b.session();
  await session.complete(prompt, greedy);
  await session.save(path);
  const saved = join(temporaryFolder(), "saved");
  await b.save(saved);
  await using again = await LanguageModel.load(saved);
  for (const name of a.model.weightNames)
    expect(await again.model.weight(name).read(), name).toEqual(await a.model.weight(name).read());
  await using restored = await b.loadSession(path);
  await using folders = a.session();
  await folders.complete(prompt, greedy);
  const expected = (await folders.complete([4, 9], greedy)).logprobs;
  expect((await restored.complete([4, 9], greedy)).logprobs).toEqual(expected);
  expect((await session.complete([4, 9], greedy)).logprobs).toEqual(expected);
});
