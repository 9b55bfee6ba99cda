// Unsupported properties of encoders in GGUF files, and of folders to be converted to GGUF.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "vitest";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import type { GgufValue } from "../../../lib/formats/gguf/gguf-types.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";
import { expectError, temporaryFolder } from "../../formats/helpers.ts";
import { f32, flag, tensorsOf, text, u32 } from "../foreign-gguf.ts";
import { asLlamaCppWrites, classifier, encoderFile, encoderFolder, modern, tiny } from "./encoder-files.ts";

type Changes = Record<string, GgufValue | undefined>;

describe("unsupported properties", () => {
  test.each<[string, object, Changes, RegExp]>([
    [
      "causal",
      {},
      { "bert.attention.causal": flag(true) },
      /bert.attention.causal: expected false for an encoder, got true/,
    ],
    [
      "causal by default",
      {},
      { "bert.attention.causal": undefined },
      /attention.causal: expected false for an encoder, got undefined/,
    ],
    [
      "an unknown pooling type",
      {},
      { "bert.pooling_type": u32(5) },
      /bert.pooling_type: expected one of 0 \(none\), .*, got 5/,
    ],
    ["a fractional pooling type", {}, { "bert.pooling_type": f32(0.5) }, /pooling_type: expected one of .*, got 0.5/],
    [
      "reranking without a classifier tensor",
      {},
      { "bert.pooling_type": u32(4) },
      /bert\.pooling_type: rank without cls\.output\.weight is not supported/,
    ],
    [
      "grouped-query attention",
      {},
      { "bert.attention.head_count_kv": u32(2) },
      /head_count_kv: grouped-query attention/,
    ],
    [
      "RoPE scaling",
      modern,
      { "modern-bert.rope.scaling.type": text("yarn") },
      /rope.scaling.type: "yarn" is not supported/,
    ],
    [
      "an unknown activation",
      modern,
      { "modern-bert.hidden_activation": text("relu") },
      /hidden_activation: "relu" is not/,
    ],
    [
      "a reranker of nomic_bert",
      { modelType: "nomic_bert" },
      { "nomic-bert.pooling_type": u32(4) },
      /nomic-bert\.pooling_type: rank \(a reranker's head\) is not/,
    ],
    [
      "an unknown kind of vocabulary",
      {},
      { "tokenizer.ggml.model": text("rwkv") },
      /ggml.model: "rwkv" \(known: llama, gpt2,/,
    ],
  ])(
    "unsupported properties of a file are rejected, and the error names the key: %s",
    async (_name, config, changes, message) => {
      const file = await asLlamaCppWrites(await encoderFile({ ...tiny, ...config }), changes);
      await expectError(() => LanguageModel.load(file), "UNSUPPORTED", message);
    },
  );

  test("unsupported properties of a file's tensors are rejected: no token types, an incomplete pooler or a missing bias", async () => {
    const without = async (config: object, name: RegExp) => {
      const path = await asLlamaCppWrites(await encoderFile({ ...tiny, ...config }));
      const { metadata, file } = await openGguf(path);
      file.close();
      const target = join(temporaryFolder(), "less.gguf");
      await writeGguf(target, {
        metadata: metadata.values,
        tensors: (await tensorsOf(path)).filter((tensor) => !name.test(tensor.name)),
      });
      return LanguageModel.load(target);
    };
    await expectError(
      () => without({}, /token_types/),
      "INVALID_FILE",
      /expected token_types.weight for 2 token types, got none/,
    );
    const ranks = { classifier: { ...classifier, pooling: "first" } };
    await expectError(() => without(ranks, /^cls\.(weight|bias)/), "UNSUPPORTED", /rank without cls.weight is not/);
    await expectError(
      () => without({}, /ffn_up.bias/),
      "INVALID_FILE",
      /expected a weight bert.*intermediate.dense.bias/,
    );
  });

  test("unsupported properties of a folder are rejected when it is converted: heads, normalizers or vocabularies", async () => {
    type Parts = Record<"normalizer" | "pre_tokenizer" | "model", Record<string, unknown> | null>;
    const to = async (config: object, changes: Partial<Parts> = {}) => {
      const folder = await encoderFolder({ ...tiny, ...config });
      const path = join(folder, "tokenizer.json");
      const json: Parts = JSON.parse(readFileSync(path, "utf8"));
      for (const [part, change] of Object.entries(changes) as [keyof Parts, Parts["model"]][])
        json[part] = change && { ...json[part], ...change };
      writeFileSync(path, JSON.stringify(json));
      return convertModel(folder, join(temporaryFolder(), "encoder.gguf"));
    };
    const words = { classifier: { ...classifier, task: "token" } };
    const nomic = { modelType: "nomic_bert", classifier: { ...classifier, pooling: "first" } };
    await expectError(
      () => to(nomic),
      "UNSUPPORTED",
      /a classification head cannot be stored in GGUF files of nomic-bert/,
    );
    await expectError(
      () => to(words),
      "UNSUPPORTED",
      /a token classification head cannot be stored in GGUF files of bert/,
    );
    const tokenizer: [RegExp, Partial<Parts>][] = [
      [/normalizer: expected only BertNormalizer .*, got "NFC"/, { normalizer: { type: "NFC" } }],
      [/normalizer: expected .*, got undefined/, { normalizer: null }],
      [/normalizer.clean_text: expected true/, { normalizer: { clean_text: false } }],
      [/pre_tokenizer: expected only BertPreTokenizer/, { pre_tokenizer: { type: "Whitespace" } }],
      [/continuing_subword_prefix: expected ##/, { model: { continuing_subword_prefix: "@@" } }],
      [/expected BPE, WordPiece or Unigram, got WordLevel/, { model: { type: "WordLevel" } }],
    ];
    for (const [message, changes] of tokenizer) await expectError(() => to({}, changes), "UNSUPPORTED", message);
  });
});
