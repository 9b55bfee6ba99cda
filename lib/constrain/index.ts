// Structured output: compiles schemas and regular expressions to automata over bytes, and computes the tokens that they allow.
export { Automaton } from "./automaton.ts";
export { compileSchema } from "./compile-schema.ts";
export { Constraint } from "./constraint.ts";
export type { Mask } from "./masks.ts";
export {
  type AnswerFormat,
  compiledAhead,
  compileFormat,
  compileRegex,
  formatType,
  type JsonFormat,
  type JsonSchema,
  type NamedSchema,
  type Parsed,
  type ResponseFormat,
  type ToolCallsFormat,
  type Validated,
  withParsed,
} from "./response-format.ts";
export type { StandardIssue, StandardSchema } from "./standard-schema.ts";
