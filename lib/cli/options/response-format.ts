// Reads the response format from command-line options.
import { compileFormat, type JsonSchema, type ResponseFormat } from "../../constrain/index.ts";
import { HeddleError } from "../../core/errors.ts";
import { readJson } from "../../io/atomic-files.ts";
import { jsonFailure } from "../../io/json.ts";

/**
 * Returns the format that --json-schema or --json-object requests, checked before a model is loaded.
 * @param schema JSON, or the path of a JSON file
 * @throws HeddleError INVALID_ARGUMENT, UNSUPPORTED, NOT_FOUND, IO, INVALID_FILE
 */
export async function responseFormatOf(
  schema: string | undefined,
  object: boolean | undefined,
): Promise<ResponseFormat | undefined> {
  if (schema === undefined) return object ? { type: "json_object" } : undefined;
  if (object) throw new HeddleError("INVALID_ARGUMENT", "--json-object: cannot be combined with --json-schema");
  const isJson = /^\s*(?:\{|true\s*$|false\s*$)/.test(schema);
  const format: ResponseFormat = {
    type: "json_schema",
    schema: (isJson ? parsed(schema) : await readJson(schema)) as JsonSchema,
  };
  compileFormat(format);
  return format;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `--json-schema: expected JSON or a JSON file, got text that is not JSON (${jsonFailure(cause)})`,
      { cause },
    );
  }
}
