// Shared by the readers of normalizers, pre-tokenizers and decoders: checked fields in the form for native code.
import { isObject } from "../../core/is-object.ts";
import { invalidFile, type Json, type JsonObject } from "../files/tokenizer-file.ts";

/** `{ String }` is matched as it stands, `{ Regex }` is in Oniguruma's syntax. */
export function readPattern(pattern: Json | undefined, where: string): { pattern: string; isRegex: boolean } {
  if (isObject(pattern) && typeof pattern.String === "string") {
    if (pattern.String === "") throw invalidFile(`${where}.String`, "text", "");
    return { pattern: pattern.String.toWellFormed(), isRegex: false };
  }
  if (isObject(pattern) && typeof pattern.Regex === "string") {
    return { pattern: pattern.Regex.toWellFormed(), isRegex: true };
  }
  throw invalidFile(where, "{ String } or { Regex }", pattern);
}

/** The one character of a field. */
export function characterField(part: JsonObject, name: string, fallback: string | undefined, where: string): string {
  const value = part[name] ?? fallback;
  if (typeof value !== "string" || [...value].length !== 1) throw invalidFile(`${where}.${name}`, "a character", value);
  return value.toWellFormed();
}

/** A whole number that is not negative. */
export function countField(part: JsonObject, name: string, fallback: number, most: number, where: string): number {
  const value = part[name] ?? fallback;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most) {
    throw invalidFile(`${where}.${name}`, `a whole number from 0 to ${most}`, value);
  }
  return value;
}

/** The prepend scheme of a Metaspace: when a mark is prepended to the text. */
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

export function typeOf(part: JsonObject, where: string): string {
  if (typeof part.type !== "string") throw invalidFile(`${where}.type`, "a string", part.type);
  return part.type.toWellFormed();
}
