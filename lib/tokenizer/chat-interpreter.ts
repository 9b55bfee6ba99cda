// Jinja's interpreter within limits, and with what Python's texts do where templates rely on it.
import { pythonRepr, type RuntimeValue } from "./chat-repr.ts";
import { lazily } from "./lazy.ts";

// The package's declarations do not resolve under NodeNext (relative imports without extensions): what is used of it.
export interface Scope {
  set(name: string, value: unknown): unknown;
}
/** A node of a template's tree. */
interface Statement {
  type: string;
}
interface Identifier extends Statement {
  value: string;
}
interface Call extends Statement {
  callee: Statement;
  args: Statement[];
}
interface Member extends Statement {
  object: Statement;
  property: Identifier;
  computed: boolean;
}
interface Binary extends Statement {
  operator: { value: string };
  left: Statement;
  right: Statement;
}
/** In the place of a node, what it was evaluated to. */
interface Known extends Statement {
  value: RuntimeValue;
}
const KNOWN = "Known";
interface Evaluator {
  evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue;
  applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue;
  evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue;
  run(program: unknown): RuntimeValue;
}
interface Jinja {
  Environment: new () => Scope;
  Interpreter: new (scope: Scope) => Evaluator;
  parse(tokens: unknown): unknown;
  tokenize(template: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }): unknown;
}
export const jinja = lazily<Jinja>("@huggingface/jinja");

export const renderLimits = {
  milliseconds: 1000,
  /** Statements and expressions evaluated. */
  steps: 5_000_000,
  /** UTF-16 units of any string, the output included. */
  characters: 1 << 24,
  /** Elements of any array. */
  elements: 100_000,
  range: 10_000,
} as const;

/** A limit above was hit. */
export class LimitError extends Error {}

const STRIPS = new Set(["strip", "lstrip", "rstrip"]);

/** Of `text.strip(characters)` its parts: the package takes blanks away whatever the characters are. */
function stripOf(
  statement: Statement | undefined,
): { text: Statement; which: string; characters: Statement } | undefined {
  if (statement?.type !== "CallExpression") return undefined;
  const { callee, args } = statement as Call;
  if (args.length !== 1 || callee.type !== "MemberExpression") return undefined;
  const { object, property, computed } = callee as Member;
  if (computed || !STRIPS.has(property.value)) return undefined;
  return { text: object, which: property.value, characters: args[0]! };
}

/** Python's str.strip, lstrip and rstrip. */
function stripped(text: string, which: string, characters: string): string {
  const known = new Set(characters);
  const units = [...text];
  let [from, to] = [0, units.length];
  if (which !== "rstrip") while (from < to && known.has(units[from]!)) from++;
  if (which !== "lstrip") while (to > from && known.has(units[to - 1]!)) to--;
  return units.slice(from, to).join("");
}

/** Filters that make of what is undefined what they make of an empty text. */
const OF_TEXT = new Set(["trim", "upper", "lower", "title", "capitalize", "string", "length"]);

/** What has a text of Python's own, which `string` makes. */
const SHOWN = new Set(["ArrayValue", "TupleValue", "ObjectValue", "BooleanValue", "NullValue"]);

const isText = (value: RuntimeValue) => value.type === "StringValue";

function makeInterpreter(): Jinja["Interpreter"] {
  return class extends jinja().Interpreter {
    private steps = 0;

    /** @param statement undefined for what a slice leaves out */
    override evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue {
      if (statement?.type === KNOWN) return (statement as Known).value;
      if (++this.steps > renderLimits.steps) throw new LimitError(`more than ${renderLimits.steps} steps`);
      const result = this.stripped(statement, scope) ?? super.evaluate(statement, scope);
      // An operation makes at most the product of what it is given: checked after each, nothing grows far.
      const { value } = result;
      if (typeof value === "string" && value.length > renderLimits.characters) {
        throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
      }
      if (Array.isArray(value) && value.length > renderLimits.elements) {
        throw new LimitError(`an array of more than ${renderLimits.elements} elements`);
      }
      return result;
    }

    override applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue {
      const { value: name } = filter as Identifier;
      if (name === "string" && SHOWN.has(operand.type)) return this.text(pythonRepr(operand), scope);
      const empty = operand.type === "UndefinedValue" && OF_TEXT.has(name);
      return super.applyFilter(empty ? this.text("", scope) : operand, filter, scope);
    }

    /** A template that puts a call's arguments into its text as they are wants JSON: an object is no text until then. */
    override evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue {
      if (node.operator.value !== "+" && node.operator.value !== "~")
        return super.evaluateBinaryExpression(node, scope);
      const sides = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
      const joins = sides.some(isText);
      const [left, right] = sides.map((side): Known => {
        const shown = joins && side.type === "ObjectValue";
        return { type: KNOWN, value: shown ? this.text(String(side), scope) : side };
      });
      return super.evaluateBinaryExpression({ ...node, left: left!, right: right! }, scope);
    }

    private stripped(statement: Statement | undefined, scope: Scope): RuntimeValue | undefined {
      const call = stripOf(statement);
      if (!call) return undefined;
      const text = this.evaluate(call.text, scope);
      const characters = isText(text) ? this.evaluate(call.characters, scope) : undefined;
      if (!characters || !isText(characters)) return undefined;
      return this.text(stripped(text.value as string, call.which, characters.value as string), scope);
    }

    private text(value: string, scope: Scope): RuntimeValue {
      return super.evaluate({ type: "StringLiteral", value } as Identifier, scope);
    }
  };
}

/** The interpreter's class, made when it is first asked for. */
let made: Jinja["Interpreter"] | undefined;

export function limitedInterpreter(): Jinja["Interpreter"] {
  made ??= makeInterpreter();
  return made;
}
