// What a caller asks an answer to be.
import { HeddleError, invalidArgument } from "../errors.ts";
import { nearest } from "../formats/nearest.ts";
import { atOnce, inSlices, type Slices } from "../tokenizer/slices.ts";
import { Automaton } from "./automaton.ts";
import { compileDocument } from "./compile-schema.ts";
import { type Grammar, GrammarBuilder } from "./grammar.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { dfaInSlices } from "./regular.ts";
import { SchemaDocument } from "./schema.ts";
import { callableTools, compileToolCalls } from "./tool-calls.ts";

/** A JSON schema, as plain data. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** A schema with what OpenAI puts beside it; `name`, `description` and `strict` change nothing here. */
export interface NamedSchema {
  schema: JsonSchema;
  name?: string | undefined;
  description?: string | undefined;
  strict?: boolean | null | undefined;
}

/**
 * What an answer is: any text, a JSON object, JSON that satisfies a schema, a text that matches a regular expression as a whole, or a
 * call of a tool.
 * Names are OpenAI's; the schema may lie in `json_schema` or `jsonSchema`, as it does there.
 */
export type ResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | ({ type: "json_schema" } & NamedSchema)
  | { type: "json_schema"; json_schema: NamedSchema }
  | { type: "json_schema"; jsonSchema: NamedSchema }
  | { type: "regex"; pattern: string }
  | ToolCallsFormat;

/**
 * A call of one of some tools, as the templates of Hermes and Qwen teach them: `<tool_call>\n{"name": …, "arguments": …}\n</tool_call>`,
 * the arguments by the tool's schema.
 */
export interface ToolCallsFormat {
  type: "tool_calls";
  /** Functions as OpenAI has them, `{ type: "function", function: { name, parameters } }`, or what stands in `function` alone. */
  tools: readonly unknown[];
  /** The only one that may be called. */
  name?: string | undefined;
  /** Whether there may be several calls, a line each. Default false: one. */
  parallel?: boolean | undefined;
}

const TYPES = ["text", "json_object", "json_schema", "regex", "tool_calls"];
const SCHEMA_NAMES = ["schema", "name", "description", "strict"];
const NAMES: Readonly<Record<string, readonly string[]>> = {
  text: ["type"],
  json_object: ["type"],
  json_schema: ["type", ...SCHEMA_NAMES, "json_schema", "jsonSchema"],
  regex: ["type", "pattern"],
  tool_calls: ["type", "tools", "name", "parallel"],
};

/** Automata of the formats used last: their states and masks serve the next call as well. */
const kept = new Map<string, Automaton>();
const MOST_KEPT = 16;
const LONGEST_KEPT = 1 << 16;

/**
 * The automaton of a format; undefined for any text.
 * @throws HeddleError INVALID_ARGUMENT for what is no format, no schema or no pattern; UNSUPPORTED for a part that is not understood
 */
export function compileFormat(format: ResponseFormat): Automaton | undefined {
  return atOnce(compiling(format));
}

/** A format that has been compiled, in the place of what it was compiled from. */
class CompiledFormat {
  readonly automaton: Automaton | undefined;

  constructor(automaton: Automaton | undefined) {
    this.automaton = automaton;
  }
}

/**
 * Options whose format is compiled in slices, between which others have their turn, so that `compileFormat` finds it done: a schema of a
 * stranger's may take half a second.
 * @throws HeddleError as compileFormat; ABORTED
 */
export async function compiledAhead<
  T extends { responseFormat?: ResponseFormat | undefined; signal?: AbortSignal | undefined },
>(options: T): Promise<T> {
  const format = options.responseFormat;
  if (format === undefined || format instanceof CompiledFormat) return options;
  const automaton = await inSlices(compiling(format), "responseFormat", options.signal);
  return { ...options, responseFormat: new CompiledFormat(automaton) };
}

function* compiling(format: ResponseFormat): Slices<Automaton | undefined> {
  if (format instanceof CompiledFormat) return format.automaton;
  const given: unknown = format;
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalidArgument("responseFormat", 'an object such as { type: "json_object" }', given);
  const { type } = given as { type?: unknown };
  if (typeof type !== "string" || !TYPES.includes(type))
    throw invalidArgument("responseFormat.type", TYPES.join(", "), type);
  checkNames(given, NAMES[type]!, "responseFormat");
  switch (format.type) {
    case "text":
      return undefined;
    case "json_object":
      return yield* automatonOf("json_object", () => compileDocument(new SchemaDocument({ type: "object" })));
    case "regex": {
      const { pattern } = format;
      if (typeof pattern !== "string") throw invalidArgument("responseFormat.pattern", "a string", pattern);
      return yield* automatonOf(`regex ${pattern}`, () => compilePattern(pattern));
    }
    case "tool_calls": {
      const { tools, name, parallel = false } = format;
      if (name !== undefined && typeof name !== "string")
        throw invalidArgument("responseFormat.name", "a string", name);
      if (typeof parallel !== "boolean") throw invalidArgument("responseFormat.parallel", "true or false", parallel);
      const callable = callableTools(tools, name);
      const key = callable.map((tool) => [tool.name, tool.parameters.root]);
      return yield* automatonOf(`tool_calls ${parallel} ${JSON.stringify(key)}`, () =>
        compileToolCalls(callable, parallel),
      );
    }
    default: {
      // What is looked up is what would be compiled: the caller's own object may change.
      const document = new SchemaDocument(schemaOf(format));
      return yield* automatonOf(`schema ${JSON.stringify(document.root)}`, () => compileDocument(document));
    }
  }
}

/** The texts that a pattern matches as a whole; `^` and `$` at its ends say nothing more. */
export function compileRegex(pattern: string): Grammar {
  return atOnce(compilePattern(pattern));
}

function* compilePattern(pattern: string): Slices<Grammar> {
  const where = "responseFormat.pattern";
  const builder = new GrammarBuilder(where);
  const rule = builder.rule();
  const dfa = yield* dfaInSlices(wholeTexts(parsePattern(pattern, where), where, { search: false }), "plain", where);
  builder.rules[rule]!.start = builder.automaton(rule, dfa, 0);
  return yield* builder.finish(rule);
}

function checkNames(object: object, known: readonly string[], where: string): void {
  for (const name of Object.keys(object)) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `${where}.${name}: expected ${near ? `a known name (nearest: ${near})` : `one of ${known.join(", ")}`}, got an unknown one`,
    );
  }
}

function schemaOf(format: Extract<ResponseFormat, { type: "json_schema" }>): unknown {
  const { schema, json_schema, jsonSchema } = format as Partial<
    Record<"schema" | "json_schema" | "jsonSchema", unknown>
  >;
  const nested = json_schema ?? jsonSchema;
  if (nested === undefined) {
    checkNote(format as NamedSchema, "responseFormat");
    return given(schema, "responseFormat");
  }
  const where = `responseFormat.${json_schema === undefined ? "jsonSchema" : "json_schema"}`;
  if (schema !== undefined || (json_schema !== undefined && jsonSchema !== undefined))
    throw new HeddleError("INVALID_ARGUMENT", `${where}: expected one schema, got two`);
  if (typeof nested !== "object" || nested === null || Array.isArray(nested))
    throw invalidArgument(where, "{ schema }", nested);
  checkNames(nested, SCHEMA_NAMES, where);
  checkNote(nested as NamedSchema, where);
  return given((nested as NamedSchema).schema, where);
}

function given(schema: unknown, where: string): unknown {
  if (schema === undefined) throw invalidArgument(`${where}.schema`, "a JSON schema", schema);
  return schema;
}

function checkNote({ strict, name, description }: NamedSchema, where: string): void {
  if (strict != null && typeof strict !== "boolean") throw invalidArgument(`${where}.strict`, "true or false", strict);
  for (const [key, value] of Object.entries({ name, description }))
    if (value !== undefined && typeof value !== "string") throw invalidArgument(`${where}.${key}`, "a string", value);
}

function* automatonOf(key: string, compile: () => Slices<Grammar>): Slices<Automaton> {
  const automaton = kept.get(key) ?? new Automaton(yield* compile());
  if (key.length > LONGEST_KEPT) return automaton;
  kept.delete(key);
  kept.set(key, automaton);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
  return automaton;
}
