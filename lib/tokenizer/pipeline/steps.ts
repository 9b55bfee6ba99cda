// Checked access to fields of normalizers, pre-tokenizers and decoders, in the form for native code.
import { isObject } from "../../core/is-object.ts";
import { isWhole, wholeRange } from "../../core/is-whole.ts";
import type { JsonObject, JsonValue } from "../../io/json.ts";
import { invalidFile } from "../files/tokenizer-file.ts";

/** Reads a pattern: `{ String }` is literal, `{ Regex }` has Oniguruma's syntax. */
export function readPattern(pattern: JsonValue | undefined, where: string): { pattern: string; isRegex: boolean } {
  if (isObject(pattern) && typeof pattern.String === "string") {
    if (pattern.String === "") throw invalidFile(`${where}.String`, "text", "");
    return { pattern: pattern.String.toWellFormed(), isRegex: false };
  }
  if (isObject(pattern) && typeof pattern.Regex === "string") {
    return { pattern: pattern.Regex.toWellFormed(), isRegex: true };
  }
  throw invalidFile(where, "{ String } or { Regex }", pattern);
}

/** Reads a field that must be one character. */
export function characterField(part: JsonObject, name: string, fallback: string | undefined, where: string): string {
  const value = part[name] ?? fallback;
  if (typeof value !== "string" || [...value].length !== 1) throw invalidFile(`${where}.${name}`, "a character", value);
  return value.toWellFormed();
}

/** Reads a field that must be an integer from 0 to `most`. */
export function countField(part: JsonObject, name: string, fallback: number, most: number, where: string): number {
  const value = part[name] ?? fallback;
  if (!isWhole(value, 0, most)) {
    throw invalidFile(`${where}.${name}`, wholeRange(0, most), value);
  }
  return value;
}

/** Reads the prepend scheme of a Metaspace: when ▁ is prepended to the text. */
export function readScheme(part: JsonObject, where: string): "never" | "always" | "first" {
  const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
  if (scheme !== "never" && scheme !== "always" && scheme !== "first") {
    throw invalidFile(`${where}.prepend_scheme`, "never, always or first", scheme);
  }
  if (part.add_prefix_space === false && scheme !== "never") {
    throw invalidFile(`${where}.prepend_scheme`, "never, because add_prefix_space is false", scheme);
  }
  return scheme;
}

/** Returns the `type` of a step. @throws HeddleError INVALID_FILE if it is not a string */
export function typeOf(part: JsonObject, where: string): string {
  if (typeof part.type !== "string") throw invalidFile(`${where}.type`, "a string", part.type);
  return part.type.toWellFormed();
}
