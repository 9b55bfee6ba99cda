// Compiles the grammar of tool calls, as a family's chat template writes them.
import { type CallFormatName, callFormatOf } from "../answers/call-formats.ts";
import { type CallTemplatePart, marksOf } from "../answers/format.ts";
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import type { Slices } from "../core/slices.ts";
import type { JsonValue } from "../io/json.ts";
import { parameterNodes } from "./call-parameters.ts";
import { SchemaCompiler } from "./compile-schema.ts";
import { END, free, type Grammar, GrammarBuilder } from "./grammar.ts";
import { unsupportedInCalls, type Work } from "./limits.ts";
import { textWithout } from "./plain-text.ts";
import { SchemaDocument } from "./schema.ts";

/** A tool that may be called, with the schema of its arguments. */
interface CallableTool {
  name: string;
  parameters: SchemaDocument;
}

/** How the calls of an answer are written. */
interface WrittenCalls {
  format: CallFormatName;
  /** Whether there may be several calls. */
  several: boolean;
  /** Text that ends the reasoning before the calls, if the prompt begins reasoning. */
  reasoningEnd?: string | undefined;
  /** The schema of an answer without calls. Undefined if the answer must be a call. */
  otherwise?: SchemaDocument | undefined;
}

const MAX_TOOLS = 128;

/**
 * Reads the tools that an answer may call.
 * @param tools functions in OpenAI's form, `{ type: "function", function: { name, parameters } }`, or only the value of `function`
 * @param work budget for reading all of their schemas
 * @param name name of the only tool that may be called
 * @throws HeddleError INVALID_ARGUMENT, with the index in `tools`
 */
export function* callableTools(tools: unknown, work: Work, name?: string | undefined): Slices<CallableTool[]> {
  if (!Array.isArray(tools) || tools.length === 0 || tools.length > MAX_TOOLS)
    throw invalidArgument("tools", `an array of 1 to ${MAX_TOOLS} functions`, tools);
  const out: CallableTool[] = [];
  for (const [i, tool] of tools.entries()) {
    const isNested = isObject(tool) && isObject(tool.function);
    const where = isNested ? `tools[${i}].function` : `tools[${i}]`;
    const called: unknown = isNested ? tool.function : tool;
    if (!isObject(called) || typeof called.name !== "string" || called.name === "")
      throw invalidArgument(where, "a function with a name", called);
    if (name !== undefined && called.name !== name) continue;
    // A missing schema means no arguments.
    const schema = called.parameters ?? { type: "object", additionalProperties: false };
    out.push({ name: called.name, parameters: yield* SchemaDocument.read(schema, work, `${where}.parameters`) });
  }
  if (out.length === 0)
    throw new HeddleError("INVALID_ARGUMENT", `tools: expected a tool named ${JSON.stringify(name)}, got none`);
  return out;
}

/**
 * Compiles the grammar of one call, or with `several`, of consecutive calls. With `otherwise`, the grammar also accepts JSON that satisfies
 * that schema.
 * @throws HeddleError INVALID_ARGUMENT for an invalid or too large schema, UNSUPPORTED for a schema keyword. The message has the keyword's
 * JSON pointer
 */
export function* compileToolCalls(
  tools: readonly CallableTool[],
  { format: name, several, reasoningEnd, otherwise }: WrittenCalls,
  work: Work,
): Slices<Grammar> {
  const format = callFormatOf(name);
  const { shape } = format;
  const builder = new GrammarBuilder("tools", work);
  const rule = builder.rule();
  const more = builder.loop(rule);
  const calls: number[] = [];
  for (const tool of tools) {
    let node = more.node;
    for (const part of [...shape.call].reverse()) node = yield* partNode(tool, part, { builder, rule, next: node });
    calls.push(node);
  }
  const call = builder.choice(calls);
  const end = builder.literal(rule, shape.end, END);
  const between = several ? shape.between : undefined;
  more.set([free(end), ...(between === undefined ? [] : [free(builder.literal(rule, between, call))])]);
  let start = builder.literal(rule, shape.begin, call);
  if (otherwise) {
    const json = builder.call(yield* new SchemaCompiler(otherwise, builder).rule(), END);
    start = builder.choice([start, builder.literal(rule, "textBegin" in format ? format.textBegin : "", json)]);
  }
  if (reasoningEnd !== undefined) {
    const reasoning = yield* textWithout(reasoningEnd, "reasoning", work);
    start = yield* builder.automaton(rule, reasoning, builder.literal(rule, `${reasoningEnd}\n\n`, start));
  }
  builder.rules[rule]!.start = start;
  const markup = [...marksOf(format), ...(reasoningEnd === undefined ? [] : [reasoningEnd])];
  return { ...(yield* builder.finish(rule)), markup };
}

function* partNode(
  { name, parameters }: CallableTool,
  part: CallTemplatePart,
  { builder, rule, next }: { builder: GrammarBuilder; rule: number; next: number },
): Slices<number> {
  if (typeof part === "string") return builder.literal(rule, part, next);
  if ("name" in part) {
    if (part.name === "plain" && !/^[\w.:/-]{1,256}$/.test(name))
      throw unsupportedInCalls("tools", `a function named ${JSON.stringify(name)}`);
    return yield* builder.text(rule, JSON.stringify(name).slice(1, -1), next);
  }
  const compiler = new SchemaCompiler(parameters, builder);
  if (part.arguments !== "json") return yield* parameterNodes(compiler, builder, { rule, shape: part.arguments, next });
  const object: JsonValue = { type: "object" };
  return builder.call(yield* compiler.rule([object]), next);
}
