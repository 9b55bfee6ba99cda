// Tool choice: whether and which tool an answer calls.
import { invalidArgument } from "../../core/errors.ts";

/**
 * Tool choice as in OpenAI's API. `"auto"` (default) leaves it to the model. `"none"` hides the tools. `"required"` forces a call of any
 * tool. An object forces a call of the tool that it names.
 */
export type ToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

/** Checks a tool choice. @throws HeddleError INVALID_ARGUMENT for any other value */
export function checkedToolChoice(choice: unknown): ToolChoice {
  if (choice === undefined) return "auto";
  if (choice === "none" || choice === "auto" || choice === "required") return choice;
  const { type, function: called } = (choice ?? {}) as { type?: unknown; function?: { name?: unknown } | null };
  if (type !== "function" || typeof called?.name !== "string" || called.name === "")
    throw invalidArgument(
      "toolChoice",
      '"none", "auto", "required" or { type: "function", function: { name } }',
      choice,
    );
  return { type, function: { name: called.name } };
}
