// Checks the items of a conversation in OpenAI's Responses API.
import { randomBytes } from "node:crypto";
import { z } from "zod";
import { isObject } from "../../../core/is-object.ts";
import { isList, list } from "../../../core/schema-parts.ts";
import type { Slices } from "../../../core/slices.ts";
import { issueRefusal } from "../../core/parameters.ts";
import { invalid, Refusal, unsupported } from "../../http/http-error.ts";

/** An item, as it is sent and stored. */
export interface Item {
  type: string;
  id: string;
  [field: string]: unknown;
}

/** Returns a new identifier such as `msg_…`. */
export function newId(prefix: string): string {
  return `${prefix}_${randomBytes(24).toString("hex")}`;
}

const MAX_ITEMS = 4096;
const MAX_PARTS = 1024;

const content = z.custom<string | unknown[]>(
  (v) => typeof v === "string" || isList(v, MAX_PARTS),
  "a string or an array of parts",
);
const name = z.string().min(1);
const id = z.string().min(1).max(256).nullish();
const status = z.enum(["in_progress", "completed", "incomplete"]).optional().catch(undefined);

/** The items that a request may have, and the prefixes of their ids. Unknown fields are dropped, so that they are not stored. */
const KINDS = {
  message: {
    prefix: "msg",
    schema: z.object({ id, status, role: z.enum(["user", "assistant", "system", "developer"]), content }),
  },
  function_call: { prefix: "fc", schema: z.object({ id, status, call_id: name, name, arguments: z.string() }) },
  function_call_output: { prefix: "fco", schema: z.object({ id, status, call_id: name, output: content }) },
  reasoning: {
    prefix: "rs",
    schema: z.object({
      id,
      status,
      summary: list(MAX_PARTS, "parts").nullish(),
      content: list(MAX_PARTS, "parts").nullish(),
    }),
  },
};
const isKind = (type: unknown): type is keyof typeof KINDS => typeof type === "string" && Object.hasOwn(KINDS, type);

/**
 * Checks the input of a request and returns its items. References become the items that they name.
 * @param stored finds an item of a stored response
 * @throws Refusal 400, or 404 for a reference to an unknown item
 */
export function* itemsOf(input: unknown, stored: (id: string) => Item | undefined): Slices<Item[]> {
  if (typeof input === "string")
    return [{ type: "message", id: newId("msg"), role: "user", content: [{ type: "input_text", text: input }] }];
  if (!Array.isArray(input)) throw invalid("input", "a string or an array of items", input);
  if (input.length > MAX_ITEMS) throw invalid("input", `at most ${MAX_ITEMS} items`, input);
  const items: Item[] = [];
  for (const [i, one] of input.entries()) {
    items.push(itemOf(one, `input[${i}]`, stored));
    yield;
  }
  return items;
}

function itemOf(value: unknown, path: string, stored: (id: string) => Item | undefined): Item {
  if (!isObject(value)) throw invalid(path, "an item: an object with a type", value);
  const type = value.type ?? (value.role === undefined ? "item_reference" : "message");
  if (type === "item_reference") return referenced(value.id, path, stored);
  if (!isKind(type))
    throw unsupported(
      `${path}.type`,
      `${String(type).slice(0, 40)} is not supported: expected ${Object.keys(KINDS).join(", ")} or item_reference`,
    );
  const { prefix, schema } = KINDS[type];
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw issueRefusal(parsed.error.issues[0]!, value, path);
  const fields = Object.entries(parsed.data).map(([field, of]) => [
    field,
    Array.isArray(of) ? of.map((part, i) => partOf(part, `${path}.${field}[${i}]`)) : of,
  ]);
  return { ...Object.fromEntries(fields), type, id: parsed.data.id ?? newId(prefix) };
}

function referenced(id: unknown, path: string, stored: (id: string) => Item | undefined): Item {
  if (typeof id !== "string") throw invalid(`${path}.id`, "the id of a stored item", id);
  const item = stored(id);
  if (item) return item;
  throw new Refusal(404, `${path}.id: expected the id of a stored item, got ${shownId(id)}`, {
    param: `${path}.id`,
    code: "item_not_found",
  });
}

/** Types of parts that consist of text, and the field that has the text. */
const TEXT_PARTS: Readonly<Record<string, "text" | "refusal">> = {
  input_text: "text",
  output_text: "text",
  text: "text",
  summary_text: "text",
  reasoning_text: "text",
  refusal: "refusal",
};

/** Returns the text of `content`. The texts of its parts are joined by line breaks. @throws Refusal 400 for parts that are not text */
export function textOf(content: unknown, path: string): string {
  if (typeof content === "string") return content;
  const parts = (content ?? []) as readonly unknown[];
  return parts.map((part, i) => partText(part, `${path}[${i}]`)).join("\n");
}

function partText(part: unknown, path: string): string {
  const { text, refusal } = partOf(part, path);
  return (text ?? refusal)!;
}

/** A part with its known fields. */
interface Part {
  type: string;
  text?: string;
  refusal?: string;
  annotations?: [];
}

/** Checks a part, and drops its unknown fields. */
function partOf(part: unknown, path: string): Part {
  if (!isObject(part)) throw invalid(path, "a part: an object with a type", part);
  const { type } = part;
  if (typeof type === "string" && /^(input|computer|output)_(image|file|audio|video|screenshot)/.test(type))
    throw unsupported(`${path}.type`, `${type.slice(0, 40)} is not supported: the model reads text`);
  if (typeof type !== "string" || !Object.hasOwn(TEXT_PARTS, type))
    throw invalid(`${path}.type`, "input_text, output_text or refusal", type);
  const field = TEXT_PARTS[type]!;
  const text = part[field];
  if (typeof text !== "string") throw invalid(`${path}.${field}`, "a string", text);
  return { type, [field]: text, ...(type === "output_text" && { annotations: [] }) };
}

/** Returns an id as messages show it. */
export function shownId(id: string): string {
  return JSON.stringify(id.slice(0, 80));
}
