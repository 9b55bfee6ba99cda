// Types of the parts of @huggingface/jinja that are used here, and a lazy import of the package.

import { lazily } from "../../../core/lazy.ts";
import type { RuntimeValue } from "./repr.ts";
import type { Token } from "./tests.ts";

// The package's own declarations do not resolve under NodeNext, because their relative imports have no extensions.
/** The variables and tests of a template. */
export interface Scope {
  set(name: string, value: unknown): RuntimeValue;
  setVariable(name: string, value: RuntimeValue): RuntimeValue;
  tests: ReadonlyMap<string, (...values: RuntimeValue[]) => boolean>;
}
/** A node of a template's syntax tree. */
export interface Statement {
  type: string;
}
/** A name. */
export interface Identifier extends Statement {
  value: string;
}
/** A call `callee(args)`. */
export interface Call extends Statement {
  callee: Statement;
  args: Statement[];
}
/** A member `object.property`, or `object[property]` if computed. */
export interface Member extends Statement {
  object: Statement;
  property: Identifier;
  computed: boolean;
}
/** A binary operation, such as `left + right`. */
export interface Binary extends Statement {
  operator: { value: string };
  left: Statement;
  right: Statement;
}
/** A slice `object[start:stop:step]`; omitted parts are undefined. */
export interface Slice extends Statement {
  start: Statement | undefined;
  stop: Statement | undefined;
  step: Statement | undefined;
}
/** `*argument` in a call. */
export interface Spread extends Statement {
  argument: Statement;
}
/** A node that holds an evaluated value. */
export interface Known extends Statement {
  value: RuntimeValue;
}
/** The type of a `Known` node. */
export const KNOWN = "Known";
/** A template's syntax tree. */
export interface Program {
  body: Statement[];
}
/** A literal value. */
export interface Literal<T> extends Statement {
  value: T;
}
/** A loop `for loopvar in iterable`. */
export interface Loop extends Statement {
  loopvar: Statement;
  iterable: Statement;
  body: Statement[];
  /** The body of `else`, which runs if no iteration ran to its end. */
  defaultBlock: Statement[];
}
/** A statement `if test`. */
export interface Condition extends Statement {
  test: Statement;
  body: Statement[];
  /** The body of `else`. */
  alternate: Statement[];
}
/** The iterable of a loop with a condition: `for x in items if condition`. */
export interface Select extends Statement {
  lhs: Statement;
  test: Statement;
}
/** The package's interpreter. */
export interface Evaluator {
  evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue;
  evaluateBlock(statements: readonly Statement[], scope: Scope): RuntimeValue;
  evaluateArguments(args: readonly Statement[], scope: Scope): [RuntimeValue[], Map<string, RuntimeValue>];
  applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue;
  evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue;
  evaluateMemberExpression(node: Member, scope: Scope): RuntimeValue;
  evaluateSliceExpression(object: RuntimeValue, node: Slice, scope: Scope): RuntimeValue;
}
interface Jinja {
  Environment: new (parent?: Scope) => Scope;
  Interpreter: new (scope: Scope) => Evaluator;
  parse(tokens: unknown): unknown;
  tokenize(template: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): Token[];
}
/** Returns the package, which is loaded at the first call. */
export const jinja = lazily<Jinja>("@huggingface/jinja");
