// Tokenizer.load reads the vocabulary of a GGUF file without its model.
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { loadTokenizerOf } from "../../../lib/language-model/load.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { splitGguf, text, withMetadata } from "../../convert/foreign-gguf.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import { tinyModel, tinyTokenizer } from "../../inference/helpers.ts";

let file = "";
let plain = "";
beforeAll(async () => {
  const save = async (options: object) => {
    const folder = join(temporaryFolder(), "model");
    await using model = tinyModel(options);
    await model.save(folder);
    const path = join(temporaryFolder(), "model.gguf");
    await convertModel(folder, path);
    return path;
  };
  file = await save({ tokenizer: await tinyTokenizer() });
  plain = await save({});
});

const sentence = "The cat saw the sea. 日本";

test("Tokenizer.load reads a GGUF file of any name or architecture, and any part of a split file", async () => {
  const wanted = [...(await tinyTokenizer()).encode(sentence)];
  const unnamed = join(temporaryFolder(), "model");
  copyFileSync(file, unnamed);
  const unknown = await withMetadata(file, { "general.architecture": text("jamba") });
  for (const path of [file, unnamed, unknown, ...(await splitGguf(file, 2))]) {
    const tokenizer = await Tokenizer.load(path, { cache: true });
    expect([...tokenizer.encode(sentence)]).toEqual(wanted);
  }
});

test("loadTokenizerOf accepts a folder of GGUF parts", async () => {
  const wanted = [...(await tinyTokenizer()).encode(sentence)];
  const [first] = await splitGguf(file, 3);
  expect([...(await loadTokenizerOf(dirname(first!))).encode(sentence)]).toEqual(wanted);
  expect([...(await loadTokenizerOf(first!)).encode(sentence)]).toEqual(wanted);
  const empty = temporaryFolder();
  await expectError(() => loadTokenizerOf(empty), "NOT_FOUND", /expected one of tokenizer.json/);
});

test("errors name the file", async () => {
  await expectError(
    () => Tokenizer.load(plain),
    "NOT_FOUND",
    /model.gguf: tokenizer.ggml.tokens: the file has no vocabulary$/,
  );
  await expectError(() => loadTokenizerOf(plain), "NOT_FOUND", /model.gguf: tokenizer.ggml.tokens/);
  const other = await withMetadata(file, {
    "tokenizer.huggingface.json": undefined,
    "tokenizer.ggml.model": text("rwkv"),
  });
  await expectError(() => Tokenizer.load(other), "UNSUPPORTED", /changed.gguf: tokenizer.ggml.model.*rwkv/);
  const cut = join(temporaryFolder(), "cut.gguf");
  writeFileSync(cut, "GGUF");
  await expectError(
    () => Tokenizer.load(cut),
    "INVALID_FILE",
    /cut.gguf: the file ends at byte 4 of at least 8, within version$/,
  );
  const [first, second] = await splitGguf(file, 2);
  renameSync(second!, `${second}.part`);
  await expectError(() => Tokenizer.load(first!), "NOT_FOUND", /expected model-00002-of-00002.gguf in the same folder/);
});

test("Tokenizer.load reads a tokenizer.json, and rejects a missing file, a path of the wrong type and an aborted load", async () => {
  const folder = join(temporaryFolder(), "tokenizer");
  mkdirSync(folder);
  await (await tinyTokenizer()).save(folder);
  expect((await Tokenizer.load(join(folder, "tokenizer.json"))).vocabSize).toBe((await tinyTokenizer()).vocabSize);
  await expectError(() => Tokenizer.load(join(folder, "none.gguf")), "NOT_FOUND", /none.gguf: no such file$/);
  await expectError(() => Tokenizer.load(3 as never), "INVALID_ARGUMENT", /path: expected a folder/);
  const signal = AbortSignal.abort();
  await expectError(() => Tokenizer.load(file, { signal }), "ABORTED", /Tokenizer.load: aborted/);
});
