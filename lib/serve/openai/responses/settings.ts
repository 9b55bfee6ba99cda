// Converts tools and formats of OpenAI's Responses API to those of chat completions.
import { isObject } from "../../../core/is-object.ts";
import type { GenerateOptions } from "../../../language-model/index.ts";
import { invalid, unsupported } from "../../http/http-error.ts";
import { MAX_TOOLS, type ResponseParameters } from "./schema.ts";

/** The tools of a request and its choice of them, in the form of chat completions. */
interface ToolSettings {
  tools: { type: "function"; function: { name: string } }[] | undefined;
  toolChoice: unknown;
}

/** Converts the tools of a request. @throws Refusal 400 for tools that are not functions */
export function toolSettings({ tools: given, tool_choice: choice = "auto" }: ResponseParameters): ToolSettings {
  const tools = given?.map((tool, i) => functionOf(tool, `tools[${i}]`));
  if (typeof choice === "string") {
    if (!["none", "auto", "required"].includes(choice))
      throw invalid("tool_choice", "none, auto, required, or an object with a type", choice);
    return { tools, toolChoice: choice };
  }
  if (!isObject(choice)) throw invalid("tool_choice", "none, auto, required, or an object with a type", choice);
  switch (choice.type) {
    case "function":
      return { tools, toolChoice: { type: "function", function: { name: nameOf(choice, "tool_choice", tools) } } };
    case "allowed_tools": {
      const { mode, tools: allowed } = choice;
      if (mode !== "auto" && mode !== "required") throw invalid("tool_choice.mode", "auto or required", mode);
      if (!Array.isArray(allowed) || allowed.length === 0)
        throw invalid("tool_choice.tools", "an array of at least one function", allowed);
      if (allowed.length > MAX_TOOLS) throw invalid("tool_choice.tools", `at most ${MAX_TOOLS} functions`, allowed);
      const names = allowed.map((one, i) => nameOf(one, `tool_choice.tools[${i}]`, tools));
      return { tools: tools?.filter((tool) => names.includes(tool.function.name)), toolChoice: mode };
    }
    default:
      throw hosted("tool_choice.type", choice.type);
  }
}

function functionOf(tool: unknown, path: string): { type: "function"; function: { name: string } } {
  if (!isObject(tool)) throw invalid(path, "a function: {type, name, parameters}", tool);
  const { type, name, ...rest } = tool;
  if (type !== "function") throw hosted(`${path}.type`, type);
  if (typeof name !== "string" || name === "") throw invalid(`${path}.name`, "the name of a function", name);
  const given = Object.entries(rest).filter(([, value]) => value !== null);
  return { type, function: { name, ...Object.fromEntries(given) } };
}

function hosted(path: string, type: unknown) {
  const shown = typeof type === "string" ? type.slice(0, 40) : "a tool without a type";
  return unsupported(path, `${shown} is not supported: the server runs no tools, so pass functions`);
}

function nameOf(value: unknown, path: string, tools: ToolSettings["tools"]): string {
  const { type, name } = isObject(value) ? value : {};
  if (type !== "function") throw hosted(`${path}.type`, type);
  if (typeof name !== "string" || !tools?.some((tool) => tool.function.name === name))
    throw invalid(`${path}.name`, "the name of one of the tools", name);
  return name;
}

/** Converts `text` to the option for the response format. @throws Refusal 400 */
export function formatOptions({ text = {} }: ResponseParameters): Pick<GenerateOptions, "responseFormat"> {
  for (const name of Object.keys(text))
    if (name !== "format" && name !== "verbosity" && text[name] != null)
      throw unsupported(`text.${name.slice(0, 80)}`, "is not supported");
  const { format, verbosity } = text;
  if (verbosity != null && verbosity !== "medium")
    throw unsupported("text.verbosity", "is not supported: say in the instructions how long the answer should be");
  if (format == null) return {};
  if (!isObject(format)) throw invalid("text.format", "an object with a type", format);
  const { type, name, schema, strict, description } = format;
  switch (type) {
    case "text":
      return {};
    case "json_object":
      return { responseFormat: { type } };
    case "json_schema": {
      if (!isObject(schema)) throw invalid("text.format.schema", "a JSON schema", schema);
      const named = { schema, ...Object.fromEntries(Object.entries({ name, strict, description }).filter(isGiven)) };
      return { responseFormat: { type, json_schema: named } };
    }
    default:
      throw invalid("text.format.type", "text, json_object or json_schema", type);
  }
}

const isGiven = ([, value]: readonly [string, unknown]) => value != null;
