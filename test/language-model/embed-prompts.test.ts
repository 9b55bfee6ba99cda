// Embedding prompts and other settings of sentence-transformers, as options of calls and in saved files.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import type { EmbeddingConfig, PoolingMode } from "../../lib/formats/config/config.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError, temporaryFolder } from "../formats/helpers.ts";
import {
  cased,
  close,
  json,
  MODES,
  newModel,
  pooledBy,
  read,
  statesOf,
  texts,
  tokenizer,
  unit,
} from "../formats/sentence-transformers/embedding-folders.ts";

const prompts = { query: "query: ", passage: "passage: " };

describe("prompts", () => {
  test("are selected by name, by text or by default; an unknown name is reported with the known ones", async () => {
    await using model = newModel("bert", { prompts, defaultPromptName: "passage" });
    const plain = async (text: string) => [...(await model.embed(text, { prompt: "" }))];
    expect([...(await model.embed("cat"))]).toEqual(await plain("passage: cat"));
    expect([...(await model.embed("cat", { promptName: "query" }))]).toEqual(await plain("query: cat"));
    expect([...(await model.embed("cat", { prompt: "search " }))]).toEqual(await plain("search cat"));
    // Ids get no prompt.
    const ids = tokenizer.encode("cat");
    close(await model.embed(ids), await plain("cat"));
    const refused = (options: object, message: RegExp, text: string | Uint32Array = "cat") =>
      expectError(() => model.embed(text, options), "INVALID_ARGUMENT", message);
    await refused({ promptName: "qery" }, /promptName: expected one of query, passage \(nearest: query\), got "qery"/);
    await refused({ promptName: "toString" }, /promptName: expected one of query, passage, got "toString"/);
    await refused({ promptName: null }, /promptName: expected one of query, passage, got null/);
    await refused({ prompt: 7 }, /prompt: expected a text, got 7/);
    await refused({ prompt: "a", promptName: "query" }, /expected either a prompt or a promptName, got both/);
    await refused({ promptName: "query" }, /prompt: expected texts, got token ids/, ids);
    await using bare = newModel("bert");
    const none = /promptName: expected none, because this model has no prompts, got "query"/;
    await expectError(() => bare.embed("cat", { promptName: "query" }), "INVALID_ARGUMENT", none);
  });

  test.each(["bert", "llama"] as const)("can be excluded from pooling (%s)", async (modelType) => {
    for (const pooling of [...MODES, ["first", "mean"]] as (PoolingMode | PoolingMode[])[]) {
      await using model = newModel(modelType, { pooling, normalize: false, includePrompt: false, prompts });
      const vectors = await model.embed(texts, { promptName: "query" });
      const before = tokenizer.encode("query: ").length - tokenizer.closingCount;
      expect(before).toBeGreaterThan(1);
      for (const [i, text] of texts.entries()) {
        const states = await statesOf(model, `query: ${text}`);
        close(
          vectors[i]!,
          [pooling].flat().flatMap((mode) => pooledBy(mode, states, before)),
        );
      }
      // Without a prompt nothing is left out.
      const states = await statesOf(model, texts[0]!);
      close(
        await model.embed(texts[0]!),
        [pooling].flat().flatMap((mode) => pooledBy(mode, states)),
      );
    }
  });

  test.each(["byteLevel", "metaspace"] as const)(
    "can end in a space that belongs to the next word's token (%s)",
    async (split) => {
      const spoken = [...texts, ...texts, "query: cat query: cat query: cat query: a dog", "query: "];
      const files = (await Tokenizer.train(spoken, { vocabSize: 300 })).files();
      const words = ["▁query:", "▁cat", "▁dog", "▁", ..."querycatdogs:"];
      const unigram = {
        ...JSON.parse(files["tokenizer.json"]!),
        pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
        decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
        post_processor: null,
        added_tokens: [],
        model: {
          type: "Unigram",
          unk_id: 0,
          vocab: [["<unk>", 0], ...[...new Set(words)].map((w) => [w, -w.length / 9])],
        },
      };
      const vocabulary =
        split === "byteLevel"
          ? Tokenizer.fromFiles({ tokenizer: files["tokenizer.json"]! })
          : Tokenizer.fromFiles({ tokenizer: JSON.stringify(unigram) });
      const own = vocabulary.encode("query: ");
      const whole = vocabulary.encode("query: cat");
      // The prompt's final space merges into the first token of the text, so pooling begins one token earlier.
      const before = own.length - vocabulary.closingCount - 1;
      expect([...whole.slice(0, before)]).toEqual([...own.slice(0, before)]);
      expect(whole[before]).not.toBe(own[before]);
      await using model = newModel("llama", { normalize: false, includePrompt: false, prompts }, vocabulary);
      for (const text of ["cat", "cat dog"]) {
        const vector = await model.embed(text, { promptName: "query" });
        close(vector, pooledBy("mean", await statesOf(model, `query: ${text}`), before));
      }
      await expectError(
        () => model.embed(["cat", ""], { promptName: "query" }),
        "INVALID_ARGUMENT",
        /text\[1\]: expected more tokens than the prompt's/,
      );
    },
  );

  test("are saved, and kept in conversion to and from GGUF; invalid values are named", async () => {
    const folder = temporaryFolder();
    const embedding: EmbeddingConfig = {
      ...{
        prompts,
        defaultPromptName: "query",
        truncateDim: 5,
        maxSeqLength: 9,
        includePrompt: false,
        lowercase: true,
      },
      ...({ pooling: "mean", normalize: false, similarity: "dot" } as const),
    };
    await using model = newModel("bert", embedding);
    await model.save(folder);
    expect(read(folder, "config_sentence_transformers.json")).toEqual({
      prompts,
      default_prompt_name: "query",
      similarity_fn_name: "dot",
      truncate_dim: 5,
    });
    expect(read(folder, "sentence_bert_config.json")).toEqual({ max_seq_length: 9, do_lower_case: true });
    const vector = await model.embed("The Cat");
    expect(vector.length).toBe(5);
    const [file, other] = [join(temporaryFolder(), "m.gguf"), temporaryFolder()];
    await convertModel(folder, file);
    await convertModel(file, other);
    for (const path of [folder, file, other]) {
      await using again = await LanguageModel.load(path);
      expect(again.config.embedding).toEqual(embedding);
      close(await again.embed("The Cat"), [...vector], 1e-6);
    }
    // Saving over another model's files leaves none of its settings.
    await using bare = newModel("bert", { pooling: "mean" });
    await bare.save(other);
    await using without = await LanguageModel.load(other);
    expect(without.config.embedding).toEqual({ pooling: "mean", normalize: true });
    const good = read(folder, "config_sentence_transformers.json");
    for (const [more, code, message] of [
      [{ prompts: [] }, "INVALID_FILE", /prompts: expected an object/],
      [{ prompts: { query: 3 } }, "INVALID_FILE", /prompts.query: expected a text of at most 65536 characters, got 3/],
      [
        { default_prompt_name: "other" },
        "INVALID_FILE",
        /default_prompt_name: expected one of the prompts \(query, passage\), got "other"/,
      ],
      [
        { similarity_fn_name: "hamming" },
        "UNSUPPORTED",
        /similarity_fn_name: expected one of cosine, .*, got "hamming"/,
      ],
      [{ truncate_dim: 0 }, "INVALID_FILE", /truncate_dim: expected a whole number of at least 1, got 0/],
    ] as const) {
      json(folder, "config_sentence_transformers.json", { ...good, ...more });
      await expectError(() => LanguageModel.load(folder), code, message);
    }
    json(folder, "config_sentence_transformers.json", { ...good, prompts: null, default_prompt_name: null });
    json(folder, "sentence_bert_config.json", { max_seq_length: "long" });
    await expectError(() => LanguageModel.load(folder), "INVALID_FILE", /max_seq_length: expected a whole number/);
    for (const pooling of ["max", "weighted_mean", ["first", "mean"]] as (PoolingMode | PoolingMode[])[]) {
      await using odd = newModel("bert", { pooling });
      const path = temporaryFolder();
      await odd.save(path);
      const message = /embedding: pooling .* cannot be stored in GGUF, expected mean, first or last/;
      await expectError(() => convertModel(path, join(path, "m.gguf")), "UNSUPPORTED", message);
    }
  });
});

test("lowercase applies to the text and to its prompt", async () => {
  const own = { prompts: { query: "Query: " }, includePrompt: false };
  await using lowered = newModel("llama", { ...own, lowercase: true }, cased);
  await using plain = newModel("llama", { ...own, prompts: { query: "query: " } }, cased);
  const promptName = "query";
  close(await lowered.embed("The CAT", { promptName }), [...(await plain.embed("the cat", { promptName }))], 1e-6);
  expect([...(await plain.embed("The CAT"))]).not.toEqual([...(await plain.embed("the cat"))]);
});

test("maxSeqLength limits a text, and truncateDim a vector", async () => {
  await using model = newModel("bert", { maxSeqLength: 6, truncateDim: 4 });
  const long = "the cat sat on the mat and the dog sat on the cat";
  const refused =
    /text: expected at most 6 tokens, the model's embedding.maxSeqLength, got \d+ \(truncation: true cuts it\)/;
  await expectError(() => model.embed(long), "CONTEXT_OVERFLOW", refused);
  const ids = tokenizer.encode(long);
  const cut = [...ids.slice(0, 5), ids.at(-1)!]; // keeps the closing token
  const vector = await model.embed(long, { truncation: true });
  close(vector, [...(await model.embed(cut))]);
  expect(vector.length).toBe(4);
  expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
  const whole = await model.embed(cut, { truncateDim: 16 });
  close(vector, unit([...whole.slice(0, 4)]));
  model.model.setEmbedding({ ...model.config.embedding!, maxSeqLength: 1 });
  const none = /text: expected room for the 2 special tokens of a text, got 1, the model's embedding.maxSeqLength/;
  await expectError(() => model.embed(long, { truncation: true }), "CONTEXT_OVERFLOW", none);
  model.model.setEmbedding({ ...model.config.embedding!, maxSeqLength: 6 });
  const wrong = /truncateDim: expected a whole number from 1 to 16, the width of vectors, got 17/;
  await expectError(() => model.embed(cut, { truncateDim: 17 }), "INVALID_ARGUMENT", wrong);
});
