import { join } from "node:path";
import { z } from "zod";
import { HeddleError } from "../../core/errors.ts";
import { expectedOf, gotAt } from "../../core/schema-issue.ts";
import { flag, real, whole } from "../../core/schema-parts.ts";
import { withoutUndefined } from "../../core/without-undefined.ts";
import { exists, readJson } from "../../io/atomic-files.ts";

const number = z.number({ error: "a number" });
const ids = z
  .union([number, z.array(number).max(64)], { error: "a token id or an array of them" })
  .transform((value) => (Array.isArray(value) ? value : [value]));

const within = (test: (value: number) => boolean, expected: string) =>
  z.number({ error: expected }).refine(test, expected);
/** A length. Unlike `whole`, it accepts numbers above 2^53, which mean that there is no limit. */
const length = within((v) => Number.isInteger(v) && v >= 0, "a whole number of at least 0");
/** Whether a number is at least 0, and finite as a 32-bit float, which the sampler uses. */
const isFloat = (v: number) => v >= 0 && Number.isFinite(Math.fround(v));

const schema = z.object({
  bos_token_id: number.nullish(),
  eos_token_id: ids.nullish(),
  pad_token_id: number.nullish(),
  do_sample: flag().nullish(),
  temperature: within(isFloat, "a number of at least 0").nullish(),
  top_k: whole(0, 2 ** 30).nullish(),
  top_p: real(0, 1).nullish(),
  min_p: real(0, 1).nullish(),
  repetition_penalty: within((v) => isFloat(v) && Math.fround(v) > 0, "a number above 0").nullish(),
  num_beams: whole(1).nullish(),
  length_penalty: within(Number.isFinite, "a finite number").nullish(),
  early_stopping: z.union([z.boolean(), z.literal("never")], { error: 'true, false or "never"' }).nullish(),
  max_new_tokens: length.nullish(),
  max_length: length.nullish(),
});

/** Fields whose invalid values are errors. Others are only defaults: an invalid value is ignored, with a warning. */
const NEEDED: ReadonlySet<PropertyKey | undefined> = new Set(["bos_token_id", "eos_token_id", "pad_token_id"]);

/** A model's generation defaults. Values that its file omits are undefined. */
export interface GenerationConfig {
  /** Id of the beginning-of-text token. */
  bosTokenId?: number;
  /** Ids of the end tokens. Each of them ends a text. */
  eosTokenIds?: number[];
  /** Id of the padding token. */
  padTokenId?: number;
  /** Whether to sample. If false, decoding is greedy, whatever the sampling values are. */
  doSample?: boolean;
  /** Divisor of the logits before the softmax. 0 means greedy decoding. */
  temperature?: number;
  /** Number of most likely tokens to sample from. 0 means all. */
  topK?: number;
  /** Sample from the smallest set of most likely tokens whose total probability reaches this value. 0 means the most likely token only. */
  topP?: number;
  /** Sample from tokens with at least this fraction of the most likely token's probability. */
  minP?: number;
  /** Above 1, tokens that have already occurred become less likely. */
  repetitionPenalty?: number;
  /** Number of beams of beam search. 1 means no beam search. */
  numBeams?: number;
  /** Beam search divides a text's log-probability by the text's length to the power of this value. */
  lengthPenalty?: number;
  /**
   * When beam search ends: as soon as numBeams texts are finished (true), by an estimate (false), or when no text can
   * improve ("never").
   */
  earlyStopping?: boolean | "never";
  /** Maximum number of tokens of an answer. */
  maxNewTokens?: number;
  /** Maximum number of tokens of a prompt with its answer. It is kept for saving, but not applied. */
  maxLength?: number;
}

/**
 * Reads generation_config.json of a model folder. Returns an empty object if the folder has no such file. A default that
 * cannot be used is ignored, with a warning. Errors: IO, INVALID_FILE for other content.
 */
export async function readGenerationConfig(folder: string): Promise<GenerationConfig> {
  const path = join(folder, "generation_config.json");
  if (!(await exists(path))) return {};
  const raw = fieldsOf(await readJson(path), path);
  const config: GenerationConfig = {
    bosTokenId: raw.bos_token_id ?? undefined,
    eosTokenIds: raw.eos_token_id ?? undefined,
    padTokenId: raw.pad_token_id ?? undefined,
    doSample: raw.do_sample ?? undefined,
    temperature: raw.temperature ?? undefined,
    topK: raw.top_k ?? undefined,
    topP: raw.top_p ?? undefined,
    minP: raw.min_p ?? undefined,
    repetitionPenalty: raw.repetition_penalty ?? undefined,
    numBeams: raw.num_beams ?? undefined,
    lengthPenalty: raw.length_penalty ?? undefined,
    earlyStopping: raw.early_stopping ?? undefined,
    maxNewTokens: raw.max_new_tokens ?? undefined,
    maxLength: raw.max_length ?? undefined,
  };
  return withoutUndefined(config);
}

/** Reads the fields. Warns about a default that cannot be used, and leaves it out. @throws HeddleError INVALID_FILE */
function fieldsOf(value: unknown, path: string): z.output<typeof schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  const said = (issue: z.core.$ZodIssue) =>
    `${[path, ...issue.path.map(String)].join(": ")}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`;
  const needed = issues.find(({ path: [field] }) => field === undefined || NEEDED.has(field));
  if (needed) throw new HeddleError("INVALID_FILE", said(needed));
  for (const issue of issues) process.emitWarning(`${said(issue)}; the default is ignored`, "HeddleWarning");
  const wrong = new Set(issues.map(({ path: [field] }) => field));
  return schema.parse(Object.fromEntries(Object.entries(value as object).filter(([field]) => !wrong.has(field))));
}

/** Converts to the snake_case object for generation_config.json. */
export function generationConfigToJson(config: GenerationConfig): Record<string, unknown> {
  const { eosTokenIds, ...rest } = config;
  const json: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined) json[key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = value;
  }
  if (eosTokenIds && eosTokenIds.length > 0)
    json.eos_token_id = eosTokenIds.length === 1 ? eosTokenIds[0] : eosTokenIds;
  return json;
}
