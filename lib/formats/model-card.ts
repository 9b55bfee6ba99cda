// The model card: what a checkpoint is, where it comes from and until when its data reaches.
import { join } from "node:path";
import { z } from "zod";
import { HeddleError } from "../errors.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import type { GgufValue } from "./gguf-types.ts";
import { exists, parseJson, readJson, writeJson } from "./io.ts";
import { expectedOf, gotAt } from "./schema-issue.ts";

/** Its file in a checkpoint folder. */
export const MODEL_CARD_FILE = "model_card.json";
/** Data sets that a card lists at most. */
export const MOST_DATA = 1000;

const text = (most = 2000) => z.string({ error: "a string" }).max(most, `at most ${most} characters`);
const date = text(10).refine(isDate, "a date such as 2024-06-30");
const count = z.custom<number>((v) => Number.isSafeInteger(v) && (v as number) >= 0, "a whole number");

const schema = z.object({
  name: text(200).optional(),
  /** The last training stage: "pretrain", "sft", "dpo", … */
  stage: text(40),
  /** All stages in their order, this one last, each with the tokens that it saw. */
  stages: z
    .array(z.object({ stage: text(40), name: text(200).optional(), tokens: count }), { error: "an array of stages" })
    .max(1000, "at most 1000 stages")
    .optional(),
  /** The checkpoint this one was trained from; null for random weights. */
  parent: text().nullable().default(null),
  data: z
    .array(
      z.object({
        name: text(),
        licence: text(200).optional(),
        source: text().optional(),
        /** Tokens of it seen, counting repetitions. */
        tokens: count.optional(),
      }),
      { error: "an array of data sets" },
    )
    .max(MOST_DATA, `at most ${MOST_DATA} data sets`)
    .default([]),
  /** Of this stage and all before it. */
  tokensSeen: count.default(0),
  /** The latest date of any training text; null when unknown. */
  trainingCutoffDate: date.nullable().default(null),
  licence: text(200).optional(),
  /** For example "heddle 0.1.0". */
  createdWith: text(200).optional(),
  createdAt: text(40).optional(),
  notes: text(20_000).optional(),
  evaluations: z
    .array(
      z.object({
        name: text(200),
        metric: text(200),
        value: z.number({ error: "a number" }),
        /** What was measured on. */
        data: text().optional(),
      }),
      { error: "an array of evaluations" },
    )
    .max(1000, "at most 1000 evaluations")
    .default([]),
});

/** A year, a month of one, or a day that its month has. */
function isDate(text: string): boolean {
  if (!/^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$/.test(text)) return false;
  const [year, month = 1, day = 1] = text.split("-").map(Number) as [number, number?, number?];
  // Day 0 of the next month is the last of this one; years repeat after 400, and Date takes those below 100 for others.
  const days = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  return month >= 1 && month <= 12 && day >= 1 && day <= days;
}

/** What model_card.json says of a model. @interface */
export type ModelCard = z.infer<typeof schema>;
/** What a caller writes: everything but `stage` may be left out. @interface */
export type ModelCardInput = z.input<typeof schema>;

/** Validates a card and fills what was left out. Errors: INVALID_ARGUMENT, or INVALID_FILE when `path` is given. */
export function parseModelCard(value: unknown, path?: string): ModelCard {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const name = issue.path.length === 0 ? "content" : issue.path.map(String).join(".");
  throw new HeddleError(
    path === undefined ? "INVALID_ARGUMENT" : "INVALID_FILE",
    `${path ?? "model card"}: ${name}: expected ${expectedOf(issue)}, got ${gotAt(issue, value)}`,
  );
}

/** The card of a checkpoint folder, or undefined where it has none. Errors: IO, INVALID_FILE. */
export async function readModelCard(folder: string): Promise<ModelCard | undefined> {
  const path = join(folder, MODEL_CARD_FILE);
  return (await exists(path)) ? parseModelCard(await readJson(path), path) : undefined;
}

export async function writeModelCard(folder: string, card: ModelCardInput): Promise<void> {
  await writeJson(join(folder, MODEL_CARD_FILE), parseModelCard(card));
}

/** The card as GGUF metadata: `general.name` and `general.license` for everyone, the whole under `heddle.model_card`. */
export function modelCardToGguf(card: ModelCard): Map<string, GgufValue> {
  const meta = new Map<string, GgufValue>();
  if (card.name !== undefined) meta.set("general.name", { type: "string", value: card.name });
  if (card.licence !== undefined) meta.set("general.license", { type: "string", value: card.licence.toLowerCase() });
  meta.set("heddle.model_card", { type: "string", value: JSON.stringify(card) });
  return meta;
}

/** The card of a GGUF file that heddle wrote; undefined for others. */
export function modelCardFromGguf(meta: GgufMetadata): ModelCard | undefined {
  const json = meta.string("heddle.model_card");
  if (json === undefined) return undefined;
  const path = `${meta.path}: heddle.model_card`;
  return parseModelCard(parseJson(Buffer.from(json), path), path);
}
