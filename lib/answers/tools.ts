// Facts about tools for the answer formats: their names, and the types of their parameters.
import { isObject } from "../core/is-object.ts";
import { resolvePointer } from "../core/json-pointer.ts";
import { JSON_TYPES, type JsonType, typeOfValue } from "../core/json-type.ts";

/** A tool that may be called. */
export interface ReadTool {
  /** JSON schemas of its parameters by their names. */
  readonly properties: Readonly<Record<string, unknown>>;
  /** The whole schema, in which references are resolved. */
  readonly schema: unknown;
}

/** Reads tools in OpenAI's form, `{ type: "function", function: { name, parameters } }`, or only the value of `function`. Skips others. */
export function toolsByName(tools: readonly unknown[]): Map<string, ReadTool> {
  const out = new Map<string, ReadTool>();
  for (const tool of tools) {
    const called: unknown = isObject(tool) && isObject(tool.function) ? tool.function : tool;
    if (!isObject(called) || typeof called.name !== "string") continue;
    const schema = called.parameters;
    out.set(called.name, {
      schema,
      properties: isObject(schema) && isObject(schema.properties) ? schema.properties : {},
    });
  }
  return out;
}

/** Maximum depth of references and alternatives that are followed. */
const MAX_DEPTH = 8;

/** Returns the types that a tool's parameter may have, as far as its schema says. An unknown parameter may have any type. */
export function typesOfParameter(tool: ReadTool | undefined, name: string): ReadonlySet<JsonType> {
  const schema = tool && Object.hasOwn(tool.properties, name) ? tool.properties[name] : undefined;
  return typesOf(schema, tool?.schema, 0);
}

const all = new Set<JsonType>(JSON_TYPES);

function typesOf(schema: unknown, root: unknown, depth: number): ReadonlySet<JsonType> {
  if (!isObject(schema) || depth > MAX_DEPTH) return all;
  const { type, enum: values, const: constant, anyOf, oneOf, allOf, $ref } = schema;
  let types: ReadonlySet<JsonType> = all;
  const narrow = (to: ReadonlySet<JsonType>) => {
    types = new Set([...types].filter((one) => to.has(one)));
  };
  if (type !== undefined) narrow(new Set((Array.isArray(type) ? type : [type]) as JsonType[]));
  // In JSON Schema a number may be an integer.
  if (types.has("number")) types = new Set([...types, "integer"]);
  if (Array.isArray(values)) narrow(new Set(values.map(typeOfValue)));
  if (constant !== undefined) narrow(new Set([typeOfValue(constant)]));
  if (typeof $ref === "string") narrow(typesOf(resolvePointer($ref, root), root, depth + 1));
  for (const alternatives of [anyOf, oneOf])
    if (Array.isArray(alternatives)) narrow(new Set(alternatives.flatMap((one) => [...typesOf(one, root, depth + 1)])));
  if (Array.isArray(allOf)) for (const one of allOf) narrow(typesOf(one, root, depth + 1));
  return types;
}
