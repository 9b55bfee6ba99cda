// The model card: a checkpoint's stage, origin, and the latest date of its data.
import { join } from "node:path";
import { z } from "zod";
import { HeddleError } from "../core/errors.ts";
import { isWhole } from "../core/is-whole.ts";
import { expectedOf, gotAt } from "../core/schema-issue.ts";
import { exists, readJson, writeJson } from "../io/atomic-files.ts";
import { parseJson } from "../io/json.ts";
import type { StagedFiles } from "../io/staged-files.ts";
import type { Optional } from "./config/config-types.ts";
import type { GgufMetadata } from "./gguf/gguf-metadata.ts";
import type { GgufValue } from "./gguf/gguf-types.ts";

/** Name of the card's file in a checkpoint folder. */
export const MODEL_CARD_FILE = "model_card.json";
/** Maximum number of data sets on a card. */
export const MAX_DATA = 1000;

/** A stage that a model has gone through. */
export interface ModelCardStage {
  /** "pretrain", "sft", "dpo", … */
  stage: string;
  /** The model's name after this stage. Default: none. */
  name?: string | undefined;
  /** Tokens that this stage saw, counting repetitions. */
  tokens: number;
}

/** A data set that a model was trained on. */
export interface ModelCardData {
  /** The data set's name, usually that of its file. */
  name: string;
  /** Its license, such as CDLA-Sharing-1.0. Default: unknown. */
  license?: string | undefined;
  /** Its origin, usually a URL. Default: unknown. */
  source?: string | undefined;
  /** Tokens of the data set that training saw, counting repetitions. Default: unknown. */
  tokens?: number | undefined;
}

/** A measured result of a model. */
export interface ModelCardEvaluation {
  /** Name of the evaluation, such as "held-out". */
  name: string;
  /** Name of the metric, such as "perplexity". */
  metric: string;
  /** The result, in the metric's unit. */
  value: number;
  /** The evaluation data. Default: unknown. */
  data?: string | undefined;
}

/** The content of model_card.json: the model's stage, its origin, and the cut-off date of its data. */
export interface ModelCard {
  /** The model's name. Default: none. */
  name?: string | undefined;
  /** The last training stage: "pretrain", "sft", "dpo", … */
  stage: string;
  /** All stages in order, including this one as the last, each with the tokens that it saw. Default: unknown. */
  stages?: ModelCardStage[] | undefined;
  /** Name of the checkpoint that this one was trained from, or null for random weights. Default null. */
  parent: string | null;
  /** Training data of all stages. Default: empty. */
  data: ModelCardData[];
  /** Tokens seen in all stages, counting repetitions. Default 0. */
  tokensSeen: number;
  /** The latest date of any training text, such as 2024-06-30, 2024-06 or 2024, or null if unknown. Default null. */
  trainingCutoffDate: string | null;
  /** The model's license, such as MIT. Default: unknown. */
  license?: string | undefined;
  /** The software that wrote the card, such as "heddle 0.1.0". Default: unknown. */
  createdWith?: string | undefined;
  /** Time of writing in ISO 8601. Default: unknown. */
  createdAt?: string | undefined;
  /** Intended use and limitations. Default: empty. */
  notes?: string | undefined;
  /** Evaluation results. Default: empty. */
  evaluations: ModelCardEvaluation[];
}

/** A card as given by a caller. Only `stage` is required. */
export interface ModelCardInput extends Pick<ModelCard, "stage">, Optional<Omit<ModelCard, "stage">> {}

const text = (most = 2000) => z.string({ error: "a string" }).max(most, `at most ${most} characters`);
const date = text(10).refine(isDate, "a date such as 2024-06-30");
const count = z.custom<number>((v) => isWhole(v), "a whole number");

/** The schema of model_card.json. */
export const modelCardSchema = z.object({
  name: text(200).optional(),
  stage: text(40),
  stages: z
    .array(z.object({ stage: text(40), name: text(200).optional(), tokens: count }), { error: "an array of stages" })
    .max(1000, "at most 1000 stages")
    .optional(),
  parent: text().nullable().default(null),
  data: z
    .array(
      z.object({
        name: text(),
        license: text(200).optional(),
        source: text().optional(),
        tokens: count.optional(),
      }),
      { error: "an array of data sets" },
    )
    .max(MAX_DATA, `at most ${MAX_DATA} data sets`)
    .default([]),
  tokensSeen: count.default(0),
  trainingCutoffDate: date.nullable().default(null),
  license: text(200).optional(),
  createdWith: text(200).optional(),
  createdAt: text(40).optional(),
  notes: text(20_000).optional(),
  evaluations: z
    .array(
      z.object({
        name: text(200),
        metric: text(200),
        value: z.number({ error: "a number" }),
        data: text().optional(),
      }),
      { error: "an array of evaluations" },
    )
    .max(1000, "at most 1000 evaluations")
    .default([]),
});

/** Whether a text is a year, a month such as 2024-06, or a day of the calendar such as 2024-06-30. */
function isDate(text: string): boolean {
  if (!/^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$/.test(text)) return false;
  const [year, month = 1, day = 1] = text.split("-").map(Number) as [number, number?, number?];
  // Day 0 of the next month is the last day of this month. Date.UTC reads years below 100 as 19xx, so the year is moved
  // by a multiple of 400, after which the calendar repeats.
  const days = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  return month >= 1 && month <= 12 && day >= 1 && day <= days;
}

/**
 * Validates a card that a program passes, and fills in defaults. Unknown fields are dropped.
 * @throws HeddleError INVALID_ARGUMENT
 */
export function parseModelCard(value: unknown): ModelCard {
  const parsed = modelCardSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HeddleError("INVALID_ARGUMENT", `model card: ${issueText(parsed.error.issues[0]!, value)}`);
}

/**
 * Reads a card from a file. Unknown fields are dropped. Invalid fields are dropped with a warning, so that a bad card
 * does not prevent loading a model.
 * @throws HeddleError INVALID_FILE unless `value` is an object with a stage
 */
function readCard(value: unknown, path: string): ModelCard {
  const parsed = modelCardSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const wrong = new Map<PropertyKey | undefined, z.core.$ZodIssue>();
  for (const issue of parsed.error.issues) if (!wrong.has(issue.path[0])) wrong.set(issue.path[0], issue);
  for (const field of [undefined, "stage"]) {
    const issue = wrong.get(field);
    if (issue) throw new HeddleError("INVALID_FILE", `${path}: ${issueText(issue, value)}`);
  }
  for (const issue of wrong.values())
    process.emitWarning(`${path}: ${issueText(issue, value)}; the field is ignored`, "HeddleWarning");
  return parseModelCard(Object.fromEntries(Object.entries(value as object).filter(([field]) => !wrong.has(field))));
}

function issueText(issue: z.core.$ZodIssue, value: unknown): string {
  const name = issue.path.length === 0 ? "content" : issue.path.map(String).join(".");
  return `${name}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`;
}

/** Reads the card of a checkpoint folder. Returns undefined if it has none. Errors: IO, INVALID_FILE. */
export async function readModelCard(folder: string): Promise<ModelCard | undefined> {
  const path = join(folder, MODEL_CARD_FILE);
  return (await exists(path)) ? readCard(await readJson(path), path) : undefined;
}

/** Writes a card into a folder. @param files if given, the card is staged as one of these files */
export async function writeModelCard(
  folder: string,
  card: ModelCardInput,
  files: Pick<StagedFiles, "writeJson"> = { writeJson },
): Promise<void> {
  await files.writeJson(join(folder, MODEL_CARD_FILE), parseModelCard(card));
}

/**
 * Returns the card as GGUF metadata: the standard keys `general.name` and `general.license`, and the whole card under
 * `heddle.model_card`.
 */
export function modelCardToGguf(card: ModelCard): Map<string, GgufValue> {
  const meta = new Map<string, GgufValue>();
  if (card.name !== undefined) meta.set("general.name", { type: "string", value: card.name });
  if (card.license !== undefined) meta.set("general.license", { type: "string", value: card.license.toLowerCase() });
  meta.set("heddle.model_card", { type: "string", value: JSON.stringify(card) });
  return meta;
}

/** Returns the card of a GGUF file that heddle wrote, or undefined for others. */
export function modelCardFromGguf(meta: GgufMetadata): ModelCard | undefined {
  const json = meta.string("heddle.model_card");
  if (json === undefined) return undefined;
  const path = `${meta.path}: heddle.model_card`;
  return readCard(parseJson(Buffer.from(json), path), path);
}
