import { HeddleError } from "../../core/errors.ts";
import { linesOf } from "../../data/lines.ts";
import { parseJsonRow } from "../../io/json.ts";

/** Yields the JSON strings of a file with one per line. @throws INVALID_FILE `file:line: …` */
export async function* readJsonStrings(path: string): AsyncGenerator<string, void, undefined> {
  let number = 0;
  for await (const line of linesOf(path, { strict: true })) {
    number++;
    let value: unknown;
    try {
      value = parseJsonRow(line, `${path}:${number}`);
    } catch (error) {
      if (error instanceof HeddleError) throw error;
      throw new HeddleError("INVALID_FILE", `${path}:${number}: expected a JSON string, got text that is not JSON`);
    }
    if (typeof value !== "string")
      throw new HeddleError("INVALID_FILE", `${path}:${number}: expected a JSON string, got another value`);
    yield value;
  }
}
