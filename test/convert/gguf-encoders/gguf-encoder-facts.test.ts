// Tests what encoder GGUF files say about RoPE, biases, special tokens and heads, and the defaults for missing keys.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { openModelFiles } from "../../../lib/formats/model-files.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import { f32, ropeFreqs, tensorsOf, text, u32, withoutHeddleKeys } from "../foreign-gguf.ts";
import { asLlamaCppWrites, encoderFile, encoderFolder, texts, tiny } from "./encoder-files.ts";

type Changes = Record<string, GgufValue | undefined>;

async function configOf(path: string) {
  const files = await openModelFiles(path);
  files.close();
  return files.config;
}

async function answersOf(path: string, call: "embed" | "classify") {
  await using model = await LanguageModel.load(path);
  return call === "embed" ? await model.embed(texts) : await model.classify(texts);
}

/** Writes the file with its tensors filtered, and some of them zeroed. */
async function withTensors(path: string, keep: (name: string) => boolean, zero: RegExp = /^$/): Promise<string> {
  const { metadata, file } = await openGguf(path);
  file.close();
  const tensors = (await tensorsOf(path))
    .filter(({ name }) => keep(name))
    .map((t) => (zero.test(t.name) ? { ...t, bytes: new Uint8Array((t.bytes as Uint8Array).length) } : t));
  const target = join(temporaryFolder(), "other.gguf");
  await writeGguf(target, { metadata: metadata.values, tensors });
  return target;
}

describe.each([
  ["modernbert", "modern-bert"],
  ["nomic_bert", "nomic-bert"],
])("RoPE of %s", (modelType, arch) => {
  const small = async (changes: Changes) => asLlamaCppWrites(await encoderFile({ ...tiny, modelType }), changes);

  test.each<[string, Changes, RegExp]>([
    [
      "a RoPE scaling factor without a scaling type",
      { "rope.scaling.factor": f32(4) },
      /rope.scaling.factor: 4 is not supported/,
    ],
    [
      "a RoPE scaling factor under the old key",
      { "rope.scale_linear": f32(2) },
      /rope.scale_linear: 2 is not supported/,
    ],
    [
      "rotation of a part of each head (partial rotary)",
      { "rope.dimension_count": u32(4) },
      /dimension_count: partial rotation \(4 of 8 dimensions\) is not/,
    ],
  ])("rejects %s", async (_name, changes, message) => {
    const keys = Object.entries(changes).map(([key, value]) => [`${arch}.${key}`, value] as const);
    const file = await small({ [`${arch}.rope.scaling.type`]: undefined, ...Object.fromEntries(keys) });
    await expectError(() => LanguageModel.load(file), "UNSUPPORTED", message);
  });

  test("rejects a tensor of RoPE factors", async () => {
    const file = await withoutHeddleKeys(await encoderFile({ ...tiny, modelType }), {}, [ropeFreqs([1, 2, 3, 4])]);
    await expectError(() => LanguageModel.load(file), "UNSUPPORTED", /tensor "rope_freqs.weight" is not supported for/);
  });

  test("accepts RoPE keys whose values change nothing", async () => {
    const plain = await configOf(await small({}));
    const none = { [`${arch}.rope.scaling.type`]: text("none"), [`${arch}.rope.scaling.factor`]: f32(4) };
    const one = { [`${arch}.rope.scaling.type`]: undefined, [`${arch}.rope.scaling.factor`]: f32(1) };
    const all = { [`${arch}.rope.dimension_count`]: u32(8), [`${arch}.rope.scale_linear`]: f32(0) };
    for (const changes of [none, one, all]) expect(await configOf(await small(changes))).toEqual(plain);
  });
});

test.each([
  ["attentionBias", { attentionBias: true }],
  ["mlpBias", { mlpBias: true }],
])("modernbert with %s gives the same embeddings after conversion to GGUF", async (_name, biases) => {
  const folder = await encoderFolder({ ...tiny, modelType: "modernbert", ...biases });
  const file = join(temporaryFolder(), "encoder.gguf");
  await convertModel(folder, file);
  expect(await configOf(file)).toMatchObject({ attentionBias: false, mlpBias: false, ...biases });
  expect(await answersOf(file, "embed")).toEqual(await answersOf(folder, "embed"));
  expect(await answersOf(await withoutHeddleKeys(file), "embed")).toEqual(await answersOf(folder, "embed"));
});

test("the largest u32 as a token id means that the token does not exist", async () => {
  const none = u32(4294967295);
  for (const modelType of ["bert", "llama"]) {
    const folder = await encoderFolder({ ...tiny, modelType, vocabSize: 64 }, false);
    const file = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, file);
    const ids = ["bos", "eos", "eot", "padding"].map((name) => [`tokenizer.ggml.${name}_token_id`, none]);
    const config = await configOf(await withoutHeddleKeys(file, Object.fromEntries(ids)));
    expect(config).toMatchObject({ bosTokenId: null, eosTokenIds: [], padTokenId: null });
    const minus = await withoutHeddleKeys(file, { "tokenizer.ggml.padding_token_id": { type: "i32", value: -1 } });
    expect((await configOf(minus)).padTokenId).toBeNull();
    expect((await configOf(await withoutHeddleKeys(file, { [ids[3]![0] as string]: u32(3) }))).padTokenId).toBe(3);
  }
});

describe.each([
  ["bert", "bert", "first"],
  ["modernbert", "modern-bert", "mean"],
])("a reranker's head of %s", (modelType, arch, pooling) => {
  const labels = ["a", "b", "c"];
  const ranker = () => encoderFile({ ...tiny, modelType, classifier: { task: "sequence", labels, pooling } });

  test("is recognized without the pooling key", async () => {
    const plain = await ranker();
    const file = await asLlamaCppWrites(plain, { [`${arch}.pooling_type`]: undefined });
    expect((await configOf(file)).classifier).toMatchObject({ task: "sequence", labels, pooling });
    expect(await answersOf(file, "classify")).toEqual(await answersOf(plain, "classify"));
  });

  test("can lack its biases, which are then zero", async () => {
    const plain = await ranker();
    const bias = /^cls(\.output)?\.bias$/;
    const file = await withTensors(plain, (name) => !bias.test(name));
    const zeros = await withTensors(plain, () => true, bias);
    const want = await answersOf(zeros, "classify");
    expect(want).not.toEqual(await answersOf(plain, "classify"));
    expect(await answersOf(file, "classify")).toEqual(want);
    const back = join(temporaryFolder(), "back");
    await convertModel(file, back);
    expect(await answersOf(back, "classify")).toEqual(want);
    const half = await withTensors(plain, (name) => name !== "cls.output.bias");
    const halfZeros = await withTensors(plain, () => true, /^cls\.output\.bias$/);
    expect(await answersOf(half, "classify")).toEqual(await answersOf(halfZeros, "classify"));
  });
});
