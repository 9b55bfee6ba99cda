import { isObject } from "../../core/is-object.ts";

/** Key of arguments that are not a JSON object, as Anthropic's documentation names it. */
const INVALID = "INVALID_JSON";

/**
 * Returns the arguments of a tool call as an object, for APIs that expect an object there. Arguments that are
 * truncated, or are not a JSON object, become `{ INVALID_JSON: text }`.
 */
export function argumentsObject(text: string): Record<string, unknown> {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // The text is not JSON. It is returned below.
  }
  return { [INVALID]: text };
}
