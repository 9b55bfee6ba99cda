// GGUF files of Llama-like models store the rows of q and k in another order than transformers. The model computes with rows in file
// order, and `weight` returns them in transformers' order.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { storedName } from "../../lib/models/loading/dequantize.ts";
import { Model } from "../../lib/models/model.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { temporaryFolder } from "../formats/helpers.ts";
import { tinyModel } from "../inference/helpers.ts";

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
  test("a GGUF file gives exactly the logits of its source folder, before and after its weights are accessed", async () => {
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
    // Generation does not create reordered copies.
    expect(b.model.tensors.has(q)).toBe(false);
    expect(await b.model.asStored(q).read()).not.toEqual(await a.model.weight(q).read());
    for (const name of a.model.weightNames)
      expect(await b.model.weight(name).read(), name).toEqual(await a.model.weight(name).read());
    expect(await b.logits(prompt)).toEqual(expected);
  });
});

test("q and k of layers without RoPE are reordered on load", async () => {
  const { folder, gguf } = await twins({ modelType: "smollm3", numHiddenLayers: 4 });
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  expect(a.model.config.noRopeLayers).toEqual([1, 1, 1, 0]);
  expect(stored(b)).toHaveLength(6);
  expect(b.model.tensors.has("model.layers.3.self_attn.q_proj.weight")).toBe(true);
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
});

test("q and k with biases are reordered on load", async () => {
  const { folder, gguf } = await twins({ attentionBias: true });
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  expect(stored(b)).toEqual([]);
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
});

test.each([
  ["an adapter on k", [["k_proj"]]],
  ["an adapter on v and one on q and k", [["v_proj"], ["q_proj", "k_proj"]]],
])("with rows in file order, %s can be used, merged and unmerged", async (_, targets) => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const plain = await a.logits(prompt);
  const names = targets.map((_, i) => `adapter${i}`);
  for (const m of [a, b])
    for (const [i, targetModules] of targets.entries()) {
      await m.model.addAdapter(names[i]!, { r: 4, targetModules }, 3);
      await disturb(m, names[i]!);
    }
  const adapted = await a.logits(prompt);
  expect(adapted).not.toEqual(plain);
  expect(await b.logits(prompt)).toEqual(adapted);
  expect(await b.logits(prompt, { adapters: [] })).toEqual(plain);
  for (const m of [a, b]) for (const name of names) await m.model.mergeAdapter(name);
  const reordered = targets.flat().filter((target) => target !== "v_proj");
  for (const target of reordered) expect(stored(b)).not.toContain(storedName(q.replace("q_proj", target)));
  expect(stored(b)).toHaveLength((2 - reordered.length) * b.model.config.numHiddenLayers);
  const merged = await a.logits(prompt);
  expect(await b.logits(prompt)).toEqual(merged);
  for (const m of [a, b]) m.model.unmergeAdapters();
  expect(await b.logits(prompt)).toEqual(adapted);
  b.model.setActiveAdapters([]);
  expect(await b.logits(prompt)).toEqual(plain);
});

test("an adapter on other matrices, or a saved session, leaves q and k in file order", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  for (const m of [a, b]) {
    await m.model.addAdapter("other", { r: 2, targetModules: ["v_proj", "o_proj"] }, 3);
    await disturb(m, "other");
  }
  expect(await b.logits(prompt)).toEqual(await a.logits(prompt));
  await using session = b.session();
  await session.complete(prompt, { maxTokens: 2 });
  const path = join(temporaryFolder(), "session.heddle");
  await session.save(path);
  expect(b.model.tensors.has(q)).toBe(false);
  // A session file is valid for the model regardless of row order.
  b.model.weight(q);
  await using again = await b.loadSession(path);
  expect(again.tokens).toEqual(session.tokens);
});

test("a running stream keeps its weights when an adapter is merged", async () => {
  const { folder } = await twins();
  await using a = await LanguageModel.load(folder);
  const options = { maxTokens: 20, temperature: 0, ignoreEos: true };
  const { tokens } = await a.complete(prompt, options);
  await a.model.addAdapter("one", { r: 4, targetModules: "all-linear" }, 3);
  await disturb(a, "one");
  a.model.setActiveAdapters([]);
  const streamed: number[] = [];
  for await (const { token } of a.generate(prompt, options)) {
    streamed.push(token);
    if (streamed.length === 5) await a.model.mergeAdapter("one");
  }
  expect(streamed).toEqual(tokens);
  expect((await a.complete(prompt, options)).tokens).not.toEqual(tokens);
});

test("a second model over the same tensors has the same logits, in either row order", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const { config, device, tensors } = b.model;
  const over = async () =>
    new LanguageModel({
      model: await Model.fromWeights(config, device, tensors),
      tokenizer: undefined,
      generation: {},
    });
  const expected = await a.logits(prompt);
  expect(await (await over()).logits(prompt)).toEqual(expected);
  b.model.weight(q);
  const second = await over();
  expect(await second.logits(prompt)).toEqual(expected);
  expect(stored(second)).toHaveLength(2 * config.numHiddenLayers - 1);
});

test.each(["bf16", "q8_0"] as const)("%s rows in file order give the same results as reordered rows", async (dtype) => {
  const { gguf } = await twins();
  const narrow = join(temporaryFolder(), "narrow.gguf");
  await convertModel(gguf, narrow, { dtype });
  await using a = await LanguageModel.load(narrow);
  await using b = await LanguageModel.load(narrow);
  const ordered = new Map(a.model.weightNames.map((name) => [name, a.model.weight(name)]));
  const model = await Model.fromWeights(a.model.config, a.model.device, ordered);
  const c = new LanguageModel({ model, tokenizer: undefined, generation: {} });
  expect([stored(b).length, stored(c).length]).toEqual([2 * b.model.config.numHiddenLayers, 0]);
  expect(await b.logits(prompt)).toEqual(await c.logits(prompt));
});

test("with rows in file order, an adapter can replace the whole q matrix", async () => {
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

test("trained weights are used in transformers' order, and earlier sessions continue", async () => {
  const { folder, gguf } = await twins();
  await using a = await LanguageModel.load(folder);
  await using b = await LanguageModel.load(gguf);
  const plain = await a.logits(prompt);
  const sessions = [a, b].map((m) => m.session());
  for (const session of sessions) await session.complete(prompt, { maxTokens: 3, temperature: 0, ignoreEos: true });
  for (const m of [a, b]) {
    await m.model.prepareForTraining([q]);
    const weight = m.model.weight(q);
    await weight.write(uniform(weight.elements, 0.3, generator(11)));
  }
  expect(stored(b)).toHaveLength(2 * b.model.config.numHiddenLayers - 1);
  const changed = await a.logits(prompt);
  expect(changed).not.toEqual(plain);
  expect(await b.logits(prompt)).toEqual(changed);
  const [x, y] = await Promise.all(
    sessions.map((session) => session.complete([4], { maxTokens: 3, temperature: 0, ignoreEos: true })),
  );
  expect(y!.logprobs).toEqual(x!.logprobs);
});

test("a saved model equals the folder, and a session continues after weights are accessed", async () => {
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
