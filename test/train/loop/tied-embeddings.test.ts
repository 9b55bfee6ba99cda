// LoRA over a model with tied embeddings, with the embedding trained in full (modulesToSave).
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openWeights } from "../../../lib/formats/weights.ts";
import { convertModel, LanguageModel, type SftOptions, sft } from "../../../lib/index.ts";
import { saveWeights } from "../../formats/write-weights.ts";
import { maxDifference } from "../../helpers/max-difference.ts";
import { sentences, tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-tied-"));
  for (const [kind, config] of Object.entries(kinds)) {
    await using base = tinyModel({ tokenizer: await tinyTokenizer() }, { ...config, tieWordEmbeddings: true });
    await base.save(at(kind));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const kinds = { llama: {}, gemma2: { modelType: "gemma2" }, gpt2: { modelType: "gpt2", numKeyValueHeads: 4 } };
const embeddings = { llama: "embed_tokens", gemma2: "embed_tokens", gpt2: "wte" } as const;
type Kind = keyof typeof kinds;

const rows = sentences.slice(0, 8).map((text) => ({ text }));
const common = {
  data: rows,
  maxSteps: 5,
  dtype: "f32",
  learningRate: 1e-2,
  perDeviceTrainBatchSize: 4,
  weightDecay: 0,
} satisfies SftOptions;
const logitsOf = async (model: LanguageModel, adapters?: string[]) =>
  (await model.logits([3, 14, 15, 9, 26, 5], { last: true, ...(adapters && { adapters }) }))[0]!;
const lossesOf = async (model: LanguageModel, options: Partial<SftOptions>) => {
  const losses: number[] = [];
  for await (const event of sft(model, { ...common, ...options })) if ("loss" in event) losses.push(event.loss);
  return losses;
};

describe.each(Object.keys(kinds) as Kind[])("%s", (kind) => {
  const lora = { r: 4, modulesToSave: [embeddings[kind]] };

  test("the trained model gives the same logits loaded, merged, unmerged, saved whole and converted", async () => {
    await using model = await LanguageModel.load(at(kind));
    const plain = await logitsOf(model);
    const out = at(`${kind}-adapter`);
    await lossesOf(model, { lora, outputDir: out });
    const tuned = await logitsOf(model);
    expect(maxDifference(tuned, plain)).toBeGreaterThan(0.1);
    expect(await logitsOf(model, [])).toEqual(plain);
    await using loaded = await LanguageModel.load(out);
    expect(await logitsOf(loaded)).toEqual(tuned);
    await loaded.mergeAdapter();
    expect(maxDifference(await logitsOf(loaded), tuned)).toBeLessThan(1e-3);
    await loaded.save(at(`${kind}-whole`));
    loaded.unmergeAdapters();
    expect(await logitsOf(loaded)).toEqual(tuned);
    for (const name of [`${kind}-whole`, `${kind}-converted`, `${kind}.gguf`]) {
      if (!name.endsWith("-whole")) await convertModel(out, at(name));
      await using whole = await LanguageModel.load(at(name));
      expect(whole.config.tieWordEmbeddings).toBe(true);
      expect(maxDifference(await logitsOf(whole), tuned), name).toBeLessThan(1e-3);
    }
    // Without ensure_weight_tying, PEFT would not train the embedding and the head as one weight.
    expect(JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"))).toMatchObject({
      ensure_weight_tying: true,
      modules_to_save: [expect.stringMatching(new RegExp(`\\.${embeddings[kind]}$`))],
    });
  });

  test("the embedding's gradient includes its use as the head: with all else frozen, losses equal those of training the base's weight", async () => {
    await using adapted = await LanguageModel.load(at(kind));
    await using whole = await LanguageModel.load(at(kind));
    const frozen = (match: RegExp) => [{ match, freeze: true }];
    const own = await lossesOf(adapted, { lora, parameterGroups: frozen(/lora_/) });
    const expected = await lossesOf(whole, { parameterGroups: frozen(new RegExp(`^(?!.*${embeddings[kind]})`)) });
    expect(own.at(-1)).toBeLessThan(own[0]! - 0.1);
    for (const [i, loss] of own.entries()) expect(loss).toBeCloseTo(expected[i]!, 4);
  });

  test("rejects training only the head in full, and the error names the embedding to train instead", async () => {
    await using model = await LanguageModel.load(at(kind));
    await expect(lossesOf(model, { lora: { r: 4, modulesToSave: ["lm_head"] } })).rejects.toThrow(
      `lora.modulesToSave: expected ${embeddings[kind]}, which is the head too (tieWordEmbeddings), got "lm_head"`,
    );
  });
});

test("an adapter in PEFT's layout loads only if its embedding and head have the same weights", async () => {
  const out = at("peft");
  await using model = await LanguageModel.load(at("llama"));
  await lossesOf(model, { lora: { r: 2, modulesToSave: ["embed_tokens"] }, outputDir: out });
  const tuned = await logitsOf(model);
  const config = JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"));
  const file = join(out, "adapter_model.safetensors");
  const weights = await openWeights(file);
  const tensors = weights.names().map((name) => {
    const { dtype, shape, file: from, offset, bytes } = weights.tensor(name);
    return { name, dtype: dtype as "f32", shape, bytes: new Uint8Array(from.bytes(offset, bytes)).slice() };
  });
  weights.close();
  const embedding = tensors.find(({ name }) => name.endsWith("embed_tokens.weight"))!;
  const head = { ...embedding, name: "base_model.model.lm_head.weight" };
  const other = { ...head, bytes: Uint8Array.from(head.bytes, (b, i) => (i % 4 === 0 ? b ^ 1 : b)) };
  const load = async (tying: boolean | undefined, kept: typeof tensors) => {
    await writeFile(join(out, "adapter_config.json"), JSON.stringify({ ...config, ensure_weight_tying: tying }));
    await mkdir(at("tensors"), { recursive: true });
    await saveWeights(at("tensors"), kept);
    await copyFile(join(at("tensors"), "model.safetensors"), file);
    await using fresh = await LanguageModel.load(at("llama"));
    await fresh.loadAdapter(out);
    return await logitsOf(fresh);
  };
  expect(await load(true, tensors)).toEqual(tuned);
  expect(await load(false, [...tensors, head])).toEqual(tuned);
  const one = "expected the same weights for model.embed_tokens.weight and the head, because this model ties them, got";
  for (const [tying, kept, got] of [
    [undefined, tensors, "only the embedding (no ensure_weight_tying in adapter_config.json)"],
    [false, tensors, "only the embedding"],
    [true, [...tensors, other], "two that differ"],
    [true, [...tensors.filter((t) => t !== embedding), head], "only the head"],
  ] as const)
    await expect(load(tying, [...kept])).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining(`${one} ${got}`),
    });
});
