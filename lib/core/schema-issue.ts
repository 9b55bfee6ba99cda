// Formats schema issues like all other messages: `name: expected X, got Y`.
import type { z } from "zod";
import { describe } from "./errors.ts";

const KINDS: Readonly<Record<string, string>> = {
  array: "an array",
  boolean: "true or false",
  number: "a number",
  object: "an object",
  record: "an object",
  string: "a text",
};

/** Returns the "expected" part of the message. zod's default messages are replaced; a message that the schema sets is kept. */
export function expectedOf(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_value") return `one of ${issue.values.join(", ")}`;
  if (issue.code === "invalid_type" && issue.message.startsWith("Invalid input"))
    return KINDS[issue.expected] ?? issue.expected;
  if (issue.code === "too_big" && issue.message.startsWith("Too big"))
    return bound(issue.origin, issue.inclusive === false ? "below" : "at most", issue.maximum);
  if (issue.code === "too_small" && issue.message.startsWith("Too small"))
    return bound(issue.origin, issue.inclusive === false ? "above" : "at least", issue.minimum);
  return issue.message;
}

function bound(origin: string, relation: string, limit: number | bigint): string {
  if (origin === "string") return `${relation} ${limit} ${limit === 1 ? "character" : "characters"}`;
  if (origin === "array") return `${relation} ${limit} ${limit === 1 ? "entry" : "entries"}`;
  return `a number ${relation === "at most" || relation === "at least" ? "of " : ""}${relation} ${limit}`;
}

/** Returns the "got" part of the message: the value at the issue's path, in a few words. */
export function gotAt(issue: z.core.$ZodIssue, value: unknown): string {
  let got = value;
  for (const step of issue.path) got = (got as Record<PropertyKey, unknown> | null | undefined)?.[step];
  return got === undefined ? "nothing" : describe(got);
}
