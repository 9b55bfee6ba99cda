// Checks and compiles response formats.
import { type CallFormatName, callFormatNames } from "../answers/call-formats.ts";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { unknownName } from "../core/nearest-name.ts";
import { checkFlag, checkString } from "../core/option-values.ts";
import { atOnce, type Slices } from "../core/slices.ts";
import { Automaton } from "./automaton.ts";
import { compileInTurns } from "./compile-queue.ts";
import { compileDocument } from "./compile-schema.ts";
import { type Grammar, GrammarBuilder } from "./grammar.ts";
import { Work } from "./limits.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { dfaInSlices } from "./regular.ts";
import { SchemaDocument } from "./schema.ts";
import { isStandardSchema, jsonSchemaOf, parsedBy, type StandardSchema } from "./standard-schema.ts";
import { callableTools, compileToolCalls } from "./tool-calls.ts";

/** A JSON schema, as plain data. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** A schema with its name and description, as in OpenAI's API. `name`, `description` and `strict` have no effect here. */
export interface NamedSchema {
  /** The JSON schema that the answer must match. */
  schema: JsonSchema;
  /** Name of the schema. It has no effect. */
  name?: string | undefined;
  /** Description of the schema. It has no effect. */
  description?: string | undefined;
  /** Has no effect: the schema always applies. */
  strict?: boolean | null | undefined;
}

/**
 * The format of an answer: any text, a JSON object, JSON that satisfies a schema, a full match of a regular expression, or a tool call.
 * `text`, `json_object` and `json_schema` are as in OpenAI's API. The schema may also be nested in `json_schema` or `jsonSchema`.
 */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | ({ type: "json_schema" } & NamedSchema & Validated)
  | ({ type: "json_schema"; json_schema: NamedSchema } & Validated)
  | ({ type: "json_schema"; jsonSchema: NamedSchema } & Validated)
  | { type: "regex"; pattern: string }
  | ToolCallsFormat;

/** A JSON format: any object, or JSON that satisfies a schema. */
export type JsonFormat = Extract<ResponseFormat, { type: "json_object" | "json_schema" }>;

/**
 * A Standard Schema that checks and converts the answer, in addition to the JSON schema. Its output is the answer's
 * `parsed`.
 */
export interface Validated {
  /** Parses the finished text. Its value is `parsed` of the completion. */
  validate?: StandardSchema | undefined;
}

/** A response format, or a schema of zod, valibot, arktype or another library of https://standardschema.dev. */
export type AnswerFormat = ResponseFormat | StandardSchema;

/**
 * The type of an answer in a format. `Whole` is the answer's type without a format, and `Format` is the type of `responseFormat`. If the format
 * is a Standard Schema, or has one in `validate`, the answer has `parsed`, of the type of the schema's output. `parsed` is optional if the
 * format may be undefined.
 */
export type Parsed<Whole, Format> = [NonNullable<Format>] extends [
  StandardSchema<infer Output> | { validate: StandardSchema<infer Output> },
]
  ? undefined extends Format
    ? Whole & { parsed?: Output }
    : Whole & { parsed: Output }
  : Whole;

/**
 * A call of one of several tools, in the form of a family's chat template, such as `<tool_call>\n{"name": …, "arguments": …}\n</tool_call>`.
 * The arguments satisfy the tool's schema.
 */
export interface ToolCallsFormat {
  /** The kind of format. */
  type: "tool_calls";
  /** Functions in OpenAI's form, `{ type: "function", function: { name, parameters } }`, or only the `function` part. */
  tools: readonly unknown[];
  /** Name of the only tool that may be called. */
  name?: string | undefined;
  /** Whether there may be several calls. Default false. */
  parallel?: boolean | undefined;
  /** Form of the calls. Default: `"hermes"`, that of Hermes and Qwen. `model.chat` and the server choose it by the chat template. */
  format?: CallFormatName | undefined;
  /** Text that ends the reasoning before the calls, such as `"</think>"`. Set it if the prompt begins the reasoning. */
  reasoningEnd?: string | undefined;
  /**
   * Format of an answer without calls. The model then chooses between this format and a call. Default: the answer is a
   * call. It takes no `validate`, because the answer may be a call, which the Standard Schema would reject.
   */
  otherwise?: (JsonFormat & { validate?: undefined }) | undefined;
}

const TYPES = ["text", "json_object", "json_schema", "regex", "tool_calls"];
const SCHEMA_NAMES = ["schema", "name", "description", "strict"];
const NAMES: Readonly<Record<string, readonly string[]>> = {
  text: ["type"],
  json_object: ["type"],
  json_schema: ["type", ...SCHEMA_NAMES, "json_schema", "jsonSchema", "validate"],
  regex: ["type", "pattern"],
  tool_calls: ["type", "tools", "name", "parallel", "format", "reasoningEnd", "otherwise"],
};

/** Automata of recently used formats. Later calls reuse their states and masks. */
const kept = new Map<string, Automaton>();
/** Maximum number of kept automata. */
const MAX_KEPT = 16;
/** Maximum number of bytes of the states of all kept automata. */
const MAX_KEPT_BYTES = 128 << 20;
/** Maximum length in characters of a format that is kept. A longer format is neither kept nor serialized to a key. */
const LONGEST_KEPT = 1 << 16;

/**
 * Compiles a format to an automaton, or returns undefined for plain text.
 * @throws HeddleError INVALID_ARGUMENT for an invalid format, schema or pattern; UNSUPPORTED for an unsupported part
 */
export function compileFormat(format: AnswerFormat): Automaton | undefined {
  return atOnce(compiling(format));
}

/** A compiled format. It replaces the format in a call's options. */
class CompiledFormat {
  readonly automaton: Automaton | undefined;
  /** The schema that checks complete answers. */
  readonly schema: StandardSchema | undefined;

  constructor(automaton: Automaton | undefined, schema: StandardSchema | undefined) {
    this.automaton = automaton;
    this.schema = schema;
  }
}

/** Returns the type of a format for checks and messages: "text" for none. */
export function formatType(format: AnswerFormat | undefined): string {
  return isStandardSchema(format) ? "json_schema" : (format?.type ?? "text");
}

/**
 * Adds `parsed` to a complete answer if the format in the options of its call has a Standard Schema.
 * @param options as `compiledAhead` returned them
 * @throws HeddleError INVALID_ANSWER if the answer was cut, or if the schema rejects it
 */
export async function withParsed<T extends Parameters<typeof parsedBy>[1]>(
  completion: T,
  { responseFormat: format }: { responseFormat?: AnswerFormat | undefined },
): Promise<T & { parsed?: unknown }> {
  const schema = format instanceof CompiledFormat ? format.schema : undefined;
  return schema ? { ...completion, parsed: await parsedBy(schema, completion) } : completion;
}

/**
 * Compiles `responseFormat` of the options in slices. The returned options hold the result, which `compileFormat` then returns at once.
 * Concurrent compilations take turns, and together block the event loop no longer than a single one.
 * @param signal aborts the work. Default: the options' signal
 * @throws HeddleError as compileFormat; ABORTED
 */
export async function compiledAhead<
  T extends { responseFormat?: AnswerFormat | undefined; signal?: AbortSignal | undefined },
>(options: T, signal: AbortSignal | undefined = options.signal): Promise<T> {
  const format = options.responseFormat;
  if (format === undefined || format instanceof CompiledFormat) return options;
  const automaton = await compileInTurns(compiling(format), "responseFormat", signal);
  const schema = isStandardSchema(format) ? format : (format as Validated).validate;
  return { ...options, responseFormat: new CompiledFormat(automaton, schema) };
}

function* compiling(format: AnswerFormat): Slices<Automaton | undefined> {
  if (format instanceof CompiledFormat) return format.automaton;
  if (isStandardSchema(format)) return yield* schemaAutomaton(jsonSchemaOf(format), new Work());
  const given: unknown = format;
  if (!isObject(given)) throw invalidArgument("responseFormat", 'an object such as { type: "json_object" }', given);
  const { type } = given as { type?: unknown };
  if (typeof type !== "string" || !TYPES.includes(type))
    throw invalidArgument("responseFormat.type", TYPES.join(", "), type);
  checkNames(given, NAMES[type]!, "responseFormat");
  const work = new Work();
  switch (format.type) {
    case "text":
      return undefined;
    case "regex": {
      const { pattern } = format;
      if (typeof pattern !== "string") throw invalidArgument("responseFormat.pattern", "a string", pattern);
      return yield* automatonOf(pattern.length, () => `regex ${pattern}`, compilePattern(pattern, work));
    }
    case "tool_calls": {
      const { tools, name, parallel = false, format: form = "hermes", reasoningEnd, otherwise } = format;
      if (name !== undefined && typeof name !== "string")
        throw invalidArgument("responseFormat.name", "a string", name);
      if (reasoningEnd !== undefined && (typeof reasoningEnd !== "string" || reasoningEnd === ""))
        throw invalidArgument("responseFormat.reasoningEnd", "a string that is not empty", reasoningEnd);
      checkFlag("responseFormat.parallel", parallel);
      if (!callFormatNames.includes(form))
        throw invalidArgument("responseFormat.format", `one of ${callFormatNames.join(", ")}`, form);
      const callable = yield* callableTools(tools, work, name);
      const size = callable.reduce((sum, tool) => sum + tool.name.length + tool.parameters.size, 0);
      const json =
        otherwise === undefined
          ? undefined
          : yield* SchemaDocument.read(jsonSchemaIn(checkedOtherwise(otherwise)), work);
      const written = { format: form, several: parallel, reasoningEnd, otherwise: json };
      const key = () => {
        const shown = { ...written, otherwise: json?.root };
        return `tool_calls ${JSON.stringify([shown, callable.map((tool) => [tool.name, tool.parameters.root])])}`;
      };
      return yield* automatonOf(size + (json?.size ?? 0), key, compileToolCalls(callable, written, work));
    }
    default:
      return yield* schemaAutomaton(jsonSchemaIn(format), work);
  }
}

function* schemaAutomaton(schema: unknown, work: Work): Slices<Automaton> {
  // Use a copy, because the caller's object may change.
  const document = yield* SchemaDocument.read(schema, work);
  return yield* automatonOf(
    document.size,
    () => `schema ${JSON.stringify(document.root)}`,
    compileDocument(document, work),
  );
}

/** Returns the schema of a JSON format. */
function jsonSchemaIn(format: JsonFormat): unknown {
  return format.type === "json_object" ? { type: "object" } : schemaOf(format);
}

function checkedOtherwise(given: unknown): JsonFormat {
  const where = "responseFormat.otherwise";
  const { type } = (given ?? {}) as { type?: unknown };
  if (type !== "json_object" && type !== "json_schema")
    throw invalidArgument(`${where}.type`, "json_object or json_schema", type);
  checkNames(given as object, NAMES[type]!, where);
  if ((given as Validated).validate !== undefined)
    throw new HeddleError(
      "UNSUPPORTED",
      `${where}.validate is not supported: check the text of an answer without tool calls in your code`,
    );
  return given as JsonFormat;
}

/** Compiles a pattern to the grammar of texts that it matches completely. `^` and `$` at its ends are redundant. */
export function compileRegex(pattern: string): Grammar {
  return atOnce(compilePattern(pattern, new Work()));
}

function* compilePattern(pattern: string, work: Work): Slices<Grammar> {
  const where = "responseFormat.pattern";
  const builder = new GrammarBuilder(where, work);
  const rule = builder.rule();
  const tree = wholeTexts(parsePattern(pattern, where, work), where, { search: false });
  const dfa = yield* dfaInSlices(tree, "plain", where, work);
  builder.rules[rule]!.start = yield* builder.automaton(rule, dfa, 0);
  return yield* builder.finish(rule);
}

function checkNames(object: object, known: readonly string[], where: string): void {
  for (const name of Object.keys(object)) {
    if (known.includes(name)) continue;
    throw unknownName(`${where}.${name}`, name, known);
  }
}

function schemaOf(format: Extract<ResponseFormat, { type: "json_schema" }>): unknown {
  const { schema, json_schema, jsonSchema } = format as Partial<
    Record<"schema" | "json_schema" | "jsonSchema", unknown>
  >;
  const { validate } = format;
  if (validate !== undefined && !isStandardSchema(validate))
    throw invalidArgument("responseFormat.validate", "a schema with ~standard.validate", validate);
  const nested = json_schema ?? jsonSchema;
  if (nested === undefined) {
    checkNameAndStrict(format as NamedSchema, "responseFormat");
    return given(schema, "responseFormat");
  }
  const where = `responseFormat.${json_schema === undefined ? "jsonSchema" : "json_schema"}`;
  if (schema !== undefined || (json_schema !== undefined && jsonSchema !== undefined))
    throw new HeddleError("INVALID_ARGUMENT", `${where}: expected one schema, got two`);
  if (!isObject(nested)) throw invalidArgument(where, "{ schema }", nested);
  checkNames(nested, SCHEMA_NAMES, where);
  checkNameAndStrict(nested, where);
  return given(nested.schema, where);
}

function given(schema: unknown, where: string): unknown {
  if (schema === undefined) throw invalidArgument(`${where}.schema`, "a JSON schema", schema);
  if (schema === null) return schema; // refused when it is read
  // JSON schemas that zod makes are plain objects with a non-enumerable ~standard.
  const isPlain = Object.getPrototypeOf(schema) === Object.prototype && !Object.keys(schema).includes("~standard");
  if (isStandardSchema(schema) && !isPlain)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${where}.schema: expected a JSON schema, got a schema of ${schema["~standard"].vendor}: pass it as responseFormat itself`,
    );
  return schema;
}

function checkNameAndStrict(given: { [name in keyof NamedSchema]?: unknown }, where: string): void {
  const { strict, name, description } = given;
  if (strict != null && typeof strict !== "boolean") throw invalidArgument(`${where}.strict`, "true or false", strict);
  for (const [key, value] of Object.entries({ name, description })) checkString(`${where}.${key}`, value);
}

/** Returns a kept automaton, or makes one. @param size size of the format in characters @param key serializes the format */
function* automatonOf(size: number, key: () => string, grammar: Slices<Grammar>): Slices<Automaton> {
  if (size > LONGEST_KEPT) return new Automaton(yield* grammar);
  const name = key();
  const automaton = kept.get(name) ?? new Automaton(yield* grammar);
  kept.delete(name);
  kept.set(name, automaton);
  let bytes = 0;
  for (const one of kept.values()) bytes += one.size;
  for (const [oldest, one] of kept) {
    if (oldest === name || (kept.size <= MAX_KEPT && bytes <= MAX_KEPT_BYTES)) break;
    kept.delete(oldest);
    bytes -= one.size;
  }
  return automaton;
}
