// Structured output: compiles schemas and regular expressions to automata over bytes, and computes the tokens that they allow.
export { Automaton, type State } from "./automaton.ts";
export { compileSchema } from "./compile-schema.ts";
export { Constraint } from "./constraint.ts";
export type { Mask } from "./masks.ts";
export {
  compiledAhead,
  compileFormat,
  compileRegex,
  type JsonSchema,
  type NamedSchema,
  type ResponseFormat,
  type ToolCallsFormat,
} from "./response-format.ts";
export { TOOL_CALL } from "./tool-calls.ts";
