// Compiles tool calls as a response format, in the form of Hermes' and Qwen's templates: `<tool_call>{"name": …, "arguments":
// …}</tool_call>`.
import { HeddleError, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import type { Slices } from "../core/slices.ts";
import { SchemaCompiler } from "./compile-schema.ts";
import { END, free, type Grammar, GrammarBuilder } from "./grammar.ts";
import type { Work } from "./limits.ts";
import { type JsonValue, SchemaDocument } from "./schema.ts";

/** The tokens around a call. */
export const TOOL_CALL = { open: "<tool_call>", close: "</tool_call>" } as const;

/** A tool that may be called, with the schema of its arguments. */
export interface CallableTool {
  name: string;
  parameters: SchemaDocument;
}

const MOST_TOOLS = 128;

/**
 * Reads the tools that an answer may call.
 * @param tools functions in OpenAI's form, `{ type: "function", function: { name, parameters } }`, or only the value of `function`
 * @param work budget for reading all of their schemas
 * @param name name of the only tool that may be called
 * @throws HeddleError INVALID_ARGUMENT, with the index in `tools`
 */
export function* callableTools(tools: unknown, work: Work, name?: string | undefined): Slices<CallableTool[]> {
  if (!Array.isArray(tools) || tools.length === 0 || tools.length > MOST_TOOLS)
    throw invalidArgument("tools", `an array of 1 to ${MOST_TOOLS} functions`, tools);
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
 * Compiles the grammar of one call, or with `several` of consecutive calls, one per line.
 * @throws HeddleError INVALID_ARGUMENT for an invalid or too large schema, UNSUPPORTED for a keyword, with its pointer
 */
export function* compileToolCalls(tools: readonly CallableTool[], several: boolean, work: Work): Slices<Grammar> {
  const builder = new GrammarBuilder("tools", work);
  const rule = builder.rule();
  const more = builder.loop(rule);
  const close = builder.literal(rule, `}\n${TOOL_CALL.close}`, more.node);
  const object: JsonValue = { type: "object" };
  const calls: number[] = [];
  for (const { name, parameters } of tools) {
    const args = yield* new SchemaCompiler(parameters, builder).rule([object]);
    const head = `${JSON.stringify(name).slice(1, -1)}", "arguments": `;
    calls.push(yield* builder.text(rule, head, builder.call(args, close)));
  }
  const call = builder.literal(rule, `${TOOL_CALL.open}\n{"name": "`, builder.choice(calls));
  more.set(several ? [free(END), free(builder.literal(rule, "\n", call))] : [free(END)]);
  builder.rules[rule]!.start = call;
  return { ...(yield* builder.finish(rule)), markup: Object.values(TOOL_CALL) };
}
