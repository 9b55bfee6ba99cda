import { HeddleError } from "../../core/errors.ts";
import { linesOf } from "../../data/lines.ts";
import { parseJsonRow } from "../../io/json.ts";

/** A line of a file, and its location for messages. */
export interface JsonLine {
  /** The JSON value, or undefined for a blank line. */
  value: unknown;
  /** `file:line` */
  where: string;
}

/** Yields the JSON values of a file with one per line. @throws INVALID_FILE `file:line: …` */
export async function* readJsonLines(path: string): AsyncGenerator<JsonLine, void, undefined> {
  let number = 0;
  for await (const line of linesOf(path, { strict: true })) {
    const where = `${path}:${++number}`;
    if (line.trim() === "") {
      yield { value: undefined, where };
      continue;
    }
    let value: unknown;
    try {
      value = parseJsonRow(line, where);
    } catch (error) {
      if (error instanceof HeddleError) throw error;
      throw new HeddleError("INVALID_FILE", `${where}: expected JSON, got text that is not JSON`);
    }
    yield { value, where };
  }
}

/** Yields the JSON strings of a file with one per line. @throws INVALID_FILE `file:line: …` */
export async function* readJsonStrings(path: string): AsyncGenerator<string, void, undefined> {
  for await (const { value, where } of readJsonLines(path)) {
    if (typeof value !== "string")
      throw new HeddleError(
        "INVALID_FILE",
        `${where}: expected a JSON string, got ${value === undefined ? "a blank line" : "another value"}`,
      );
    yield value;
  }
}
