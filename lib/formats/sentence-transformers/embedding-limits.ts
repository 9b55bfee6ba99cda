// Reads the maximum text length and the lower-casing of a sentence-transformers model, from the folder of its Transformer module.
import { join } from "node:path";
import { describe, HeddleError } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import { exists, readJson } from "../../io/atomic-files.ts";
import type { JsonFields } from "../../io/json.ts";
import type { EmbeddingConfig, ModelConfig } from "../config/config-types.ts";
import { TEXT_LIMIT_FILES } from "./names.ts";

/** Lengths of at least this value mean "no limit". Hugging Face writes 1e30. */
const NO_LENGTH = 1e9;

/**
 * Reads the maximum text length, and whether texts are lower-cased.
 * @param folder folder of the Transformer module
 * @throws HeddleError IO, INVALID_FILE
 */
export async function readTextLimits(
  folder: string,
  { maxPositionEmbeddings }: ModelConfig,
): Promise<Pick<EmbeddingConfig, "maxSeqLength" | "lowercase">> {
  const { file, config } = await readFirst(folder, TEXT_LIMIT_FILES);
  const { max_seq_length: declared, do_lower_case: lowers, processing_kwargs: processing } = config;
  const text = isObject(processing) && isObject(processing.text) ? processing.text : {};
  // Since version 5.4 sentence-transformers uses the tokenizer's length, unless processing_kwargs sets another.
  const most =
    lengthOf(declared, "max_seq_length", file) ??
    lengthOf(text.max_length, "processing_kwargs.text.max_length", file) ??
    (await tokenizerLength(folder));
  return {
    ...(most !== undefined && most < maxPositionEmbeddings && { maxSeqLength: most }),
    ...(lowers === true && { lowercase: true }),
  };
}

async function tokenizerLength(folder: string): Promise<number | undefined> {
  const { config } = await readFirst(folder, ["tokenizer_config.json"]);
  const { model_max_length: most } = config;
  // Ignore invalid values, as the reader of the tokenizer does.
  return isWhole(most, 1, NO_LENGTH - 1) ? most : undefined;
}

function lengthOf(value: unknown, key: string, file: string): number | undefined {
  if (value === undefined || value === null || (typeof value === "number" && value >= NO_LENGTH)) return undefined;
  if (!isWhole(value, 1))
    throw new HeddleError("INVALID_FILE", `${file}: ${key}: expected ${wholeRange(1)}, got ${describe(value)}`);
  return value as number;
}

/** Reads the first of these files that exists. If none does, the content is an empty object. */
async function readFirst(folder: string, names: readonly string[]): Promise<{ file: string; config: JsonFields }> {
  for (const name of names) {
    const file = join(folder, name);
    if (!(await exists(file))) continue;
    const config = await readJson(file);
    if (isObject(config)) return { file, config };
    throw new HeddleError("INVALID_FILE", `${file}: expected an object, got ${describe(config)}`);
  }
  return { file: join(folder, names[0]!), config: {} };
}
