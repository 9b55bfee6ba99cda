// Schemas of zod, valibot, arktype and other libraries, by the interfaces of https://standardschema.dev.
import { firstOf } from "../core/amounts.ts";
import { excerpt, HeddleError, reasonOf } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";

/**
 * A schema of a library that implements Standard Schema, such as zod, valibot or arktype. `Output` is the type of the values that it returns.
 * Its JSON Schema comes from the Standard JSON Schema extension.
 */
export interface StandardSchema<Output = unknown> {
  /** The specification: its version, the library's name, and the function that checks a value. */
  readonly "~standard": {
    readonly version: 1;
    /** Name of the library. */
    readonly vendor: string;
    /** Checks a value, and returns the output. */
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    /** Only for TypeScript. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
    /** Converters to JSON Schema, if the library has them. */
    readonly jsonSchema?:
      | {
          /** Returns the JSON Schema of the input, in the dialect that `target` names. */
          readonly input: (options: { readonly target: string }) => Record<string, unknown>;
        }
      | undefined;
  };
}

/** The result of a check: the output, or the issues of the value. */
type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] };

/** One reason why a schema rejects a value. */
export interface StandardIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** The dialect in which JSON schemas are requested. */
const TARGET = "draft-2020-12";

/** Whether a value implements Standard Schema. Schemas of arktype are functions. */
export function isStandardSchema(value: unknown): value is StandardSchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const standard = (value as Partial<StandardSchema>)["~standard"] as unknown;
  return isObject(standard) && typeof standard.validate === "function";
}

/**
 * Returns the JSON schema of the documents that a schema accepts. For a schema with transforms, these are the documents
 * that it accepts as input.
 * @throws HeddleError UNSUPPORTED if the library has no converter, or if the schema has no JSON schema
 */
export function jsonSchemaOf(schema: StandardSchema): Record<string, unknown> {
  const { jsonSchema, vendor } = schema["~standard"];
  const instead = 'pass { type: "json_schema", schema: JSON_SCHEMA, validate: SCHEMA }';
  if (typeof jsonSchema?.input !== "function")
    throw new HeddleError(
      "UNSUPPORTED",
      `responseFormat: expected a schema with ~standard.jsonSchema, got a schema of ${nameOf(vendor)} without it: ${instead}${converterOf(schema)}`,
    );
  try {
    return jsonSchema.input({ target: TARGET });
  } catch (error) {
    throw new HeddleError(
      "UNSUPPORTED",
      `responseFormat: expected a schema of JSON documents, got one without a JSON schema (${nameOf(vendor)}: ${messageOf(error)}): ${instead}, or change the part that is not JSON`,
      { cause: error },
    );
  }
}

function nameOf(vendor: unknown): string {
  return typeof vendor === "string" && vendor !== "" ? excerpt(vendor, 40) : "an unknown library";
}

/** Returns a hint for messages: how to convert a schema of a library whose schemas have no converter. */
function converterOf(schema: StandardSchema): string {
  const { vendor } = schema["~standard"];
  if (vendor === "valibot") return ", or toStandardJsonSchema(SCHEMA) of @valibot/to-json-schema";
  if (vendor === "zod" && "_zod" in schema) return ' with z.toJSONSchema(SCHEMA, { io: "input" })';
  return vendor === "zod" ? " with zodToJsonSchema(SCHEMA) of zod-to-json-schema, or a schema of zod 4" : "";
}

/** An answer, which may be cut. */
interface Answer {
  text: string;
  finishReason: string;
  tokens: readonly number[];
}

/**
 * Parses an answer, and checks it with a schema.
 * @returns the output of the schema
 * @throws HeddleError INVALID_ANSWER if the answer was cut, or if the schema rejects it. `cause` holds the completion
 * and the issues.
 */
export async function parsedBy(schema: StandardSchema, completion: Answer): Promise<unknown> {
  const { text, finishReason, tokens } = completion;
  const refused = (message: string, more: object = {}) =>
    new HeddleError("INVALID_ANSWER", `responseFormat: ${message}`, { cause: { completion, ...more } });
  if (finishReason === "length")
    throw refused(
      `expected a complete answer, got one that was cut after ${tokens.length} tokens (finishReason "length"): raise maxTokens, and set no stop text that the document may contain`,
    );
  let result: unknown;
  try {
    result = await schema["~standard"].validate(JSON.parse(text));
  } catch (error) {
    throw refused(`the schema failed to check the answer: ${messageOf(error)}`, { error });
  }
  // Accept any object, because arktype's results with issues are arrays.
  if (typeof result !== "object" || result === null)
    throw refused(`expected a schema whose validate returns a result, got ${result === null ? "null" : typeof result}`);
  const { issues, value } = result as { issues?: readonly StandardIssue[]; value?: unknown };
  if (issues === undefined) return value;
  const quoted = firstOf(issues.map(described), MAX_QUOTED, "; ");
  throw refused(`the schema refuses the answer: ${quoted}`, { issues });
}

/** Maximum number of issues that a message quotes. */
const MAX_QUOTED = 3;

function described({ message, path = [] }: StandardIssue): string {
  const keys = path.map((step) => String(typeof step === "object" ? step.key : step));
  return excerpt(keys.length > 0 ? `${keys.join(".")}: ${message}` : message);
}

function messageOf(error: unknown): string {
  return excerpt(reasonOf(error));
}
