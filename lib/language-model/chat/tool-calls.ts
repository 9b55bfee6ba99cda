// Whole tool calls, gathered from the parts of an answer.
import type { CallPart } from "../../answers/parts.ts";

/** A tool call in a model's answer, as in OpenAI's API. */
export interface ToolCall {
  /** Identifies the call. A message with the tool's result repeats it as `tool_call_id`. */
  id: string;
  /** The kind of tool. There are only functions. */
  type: "function";
  /** `arguments` is a JSON string. It is incomplete if `maxTokens` cut the answer. */
  function: { name: string; arguments: string };
}

/** Gathers the calls of an answer from their parts. */
export class CallGatherer {
  private readonly gathered: ToolCall[] = [];

  add(parts: readonly CallPart[]): void {
    for (const { index, id, name, arguments: more } of parts) {
      const known = this.gathered[index];
      if (known) known.function.arguments += more;
      else this.gathered[index] = { id, type: "function", function: { name: name ?? "", arguments: more } };
    }
  }

  /** All calls so far. */
  get calls(): readonly ToolCall[] {
    return this.gathered;
  }
}
