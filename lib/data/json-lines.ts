// Files with a JSON value per line.
import { HeddleError } from "../core/errors.ts";
import { untilAborted } from "../core/until-aborted.ts";
import { jsonFailure } from "../io/json.ts";
import { mostJson } from "../io/json-memory.ts";
import { linesOf } from "./lines.ts";

/** A line of a file, and its location for messages. */
interface JsonLine {
  /** The JSON value. Undefined for a blank line, if blank lines are read. */
  value: unknown;
  /** `file:line` */
  where: string;
}

/** Options of `jsonLinesOf`. */
interface JsonLineOptions {
  /** The kind of value on a line, for messages. Default `JSON`. */
  expected?: string;
  /** Whether to yield blank lines. Default false. */
  blanks?: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Yields the JSON values of a file with one per line.
 * @throws HeddleError INVALID_FILE `file:line: …` for text that is not JSON, or a line whose values may not fit into the heap; ABORTED; as
 *   `linesOf`
 */
export async function* jsonLinesOf(
  path: string,
  { expected = "JSON", blanks = false, signal }: JsonLineOptions = {},
): AsyncGenerator<JsonLine, void, undefined> {
  let number = 0;
  const most = mostJson();
  // Reading must be abortable, because a pipe may never deliver its data.
  for await (const text of untilAborted(linesOf(path, { strict: true }), signal, path)) {
    const where = `${path}:${++number}`;
    if (text.trim() === "") {
      if (blanks) yield { value: undefined, where };
      continue;
    }
    if (text.length > most)
      throw new HeddleError(
        "INVALID_FILE",
        `${where}: expected a row of at most ${most} characters, limited by the heap size, got ${text.length}`,
      );
    yield { value: parsed(text, where, expected), where };
  }
}

function parsed(text: string, where: string, expected: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HeddleError(
      "INVALID_FILE",
      `${where}: expected ${expected}, got text that is not JSON (${jsonFailure(error)})`,
    );
  }
}

/** Yields the texts of a file with a row per line: a JSON string, or an object with `text`. @throws as `jsonLinesOf` */
export async function* textRowsOf(path: string): AsyncGenerator<string, void, undefined> {
  const expected = "a JSON string or an object with a text";
  for await (const { value, where } of jsonLinesOf(path, { expected })) {
    const text = typeof value === "string" ? value : (value as { text?: unknown } | null)?.text;
    if (typeof text !== "string")
      throw new HeddleError("INVALID_FILE", `${where}: expected ${expected}, got something else`);
    yield text;
  }
}
