// The maximum text length, from the files of different sentence-transformers versions.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openModelFiles } from "../../../lib/formats/model-files.ts";
import { expectError, temporaryFolder } from "../helpers.ts";
import { json, newModel, read } from "./embedding-folders.ts";

const FILE = "sentence_bert_config.json";
const kwargs = (length: unknown) => ({ processing_kwargs: { text: { max_length: length, truncation: true } } });

/**
 * Returns the embedding config of a BERT of 40 positions. `own` is the content of `file`, and `tokenizerLength` is model_max_length in
 * tokenizer_config.json.
 */
async function embeddingConfigOf(own: object | undefined, tokenizerLength: unknown, file = FILE) {
  const folder = temporaryFolder();
  await using model = newModel("bert", {});
  await model.save(folder);
  rmSync(join(folder, FILE));
  if (own) json(folder, file, own);
  const config = { ...read(folder, "tokenizer_config.json"), model_max_length: tokenizerLength };
  json(folder, "tokenizer_config.json", config);
  const files = await openModelFiles(folder);
  files.close();
  return files.config.embedding;
}

test.each<[string, object | undefined, unknown, number | undefined]>([
  ["from max_seq_length rather than processing_kwargs", { max_seq_length: 9, ...kwargs(7) }, 12, 9],
  ["from processing_kwargs", { transformer_task: "feature-extraction", ...kwargs(7) }, 12, 7],
  ["from the tokenizer if there are no processing_kwargs", { transformer_task: "feature-extraction" }, 12, 12],
  ["from the tokenizer if the keys are null", { max_seq_length: null, ...kwargs(null) }, 12, 12],
  ["from the tokenizer if there is no file", undefined, 12, 12],
  ["none if the tokenizer's length is the placeholder 1e30", {}, 1e30, undefined],
  ["none if the tokenizer's length is a string", { processing_kwargs: { text: "long" } }, "long", undefined],
  ["none if the tokenizer's length exceeds the model's positions", {}, 512, undefined],
])("reads the maximum text length: %s", async (_, own, tokenizerLength, wanted) => {
  expect((await embeddingConfigOf(own, tokenizerLength))?.maxSeqLength).toBe(wanted);
});

test.each(["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])(
  "reads the maximum text length and lowercasing from sentence_%s_config.json",
  async (name) => {
    const own = { max_seq_length: 9, do_lower_case: true };
    expect(await embeddingConfigOf(own, 12, `sentence_${name}_config.json`)).toMatchObject({
      maxSeqLength: 9,
      lowercase: true,
    });
  },
);

test("rejects an invalid length and names its key", async () => {
  const wrong = /processing_kwargs.text.max_length: expected a whole number of at least 1, got 0/;
  await expectError(() => embeddingConfigOf(kwargs(0), 12), "INVALID_FILE", wrong);
});
