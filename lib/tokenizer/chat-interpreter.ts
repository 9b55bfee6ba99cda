// Jinja's interpreter within limits, and with what Python's texts do where templates rely on it.
import { pythonText, type RuntimeValue, stripped, textFilters } from "./chat-repr.ts";
import { lazily } from "./lazy.ts";

// The package's declarations do not resolve under NodeNext (relative imports without extensions): what is used of it.
export interface Scope {
  set(name: string, value: unknown): RuntimeValue;
  tests: ReadonlyMap<string, (...values: RuntimeValue[]) => boolean>;
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
interface Loop extends Statement {
  loopvar: Statement;
  iterable: Statement;
}
/** What a loop goes over, with a condition. */
interface Select extends Statement {
  lhs: Statement;
}
interface Evaluator {
  evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue;
  evaluateBlock(statements: readonly Statement[], scope: Scope): RuntimeValue;
  evaluateArguments(args: readonly Statement[], scope: Scope): [RuntimeValue[], Map<string, RuntimeValue>];
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

/** Statements, which print what they have made, or nothing; what else a template has it prints as Python's text. */
const STATEMENTS = new Set(["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment"]);

/** Filters of what can be gone over: texts by their characters, objects by their keys. */
const ITERATING = new Set([
  ...["list", "first", "last", "unique", "sort", "join", "map"],
  ...["select", "reject", "selectattr", "rejectattr"],
]);

/** Tests that are operators. */
const COMPARISONS: Readonly<Record<string, string>> = {
  ...{ eq: "==", equalto: "==", "==": "==", ne: "!=", "!=": "!=", in: "in" },
  ...{ lt: "<", lessthan: "<", "<": "<", le: "<=", "<=": "<=" },
  ...{ gt: ">", greaterthan: ">", ">": ">", ge: ">=", ">=": ">=" },
};

const isText = (value: RuntimeValue) => value.type === "StringValue";
const isArray = (value: RuntimeValue) => Array.isArray(value.value);
const known = (value: RuntimeValue): Known => ({ type: KNOWN, value });

/** @param mark what stands behind characters of messages that a special token could begin with: see ChatGuard */
type LimitedInterpreter = new (scope: Scope, mark?: string) => Evaluator;

function makeInterpreter(): LimitedInterpreter {
  return class extends jinja().Interpreter {
    private readonly mark: string | undefined;
    private steps = 0;

    constructor(scope: Scope, mark?: string) {
      super(scope);
      this.mark = mark;
    }

    /** @param statement undefined for what a slice leaves out */
    override evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue {
      if (statement?.type === KNOWN) return (statement as Known).value;
      if (++this.steps > renderLimits.steps) throw new LimitError(`more than ${renderLimits.steps} steps`);
      const node = statement?.type === "For" ? this.going(statement as Loop, scope) : statement;
      const result = this.stripped(node, scope) ?? super.evaluate(node, scope);
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

    override evaluateBlock(statements: readonly Statement[], scope: Scope): RuntimeValue {
      let text = "";
      for (const statement of statements) {
        const value = this.evaluate(statement, scope);
        if (isText(value)) text += value.value;
        else if (!STATEMENTS.has(statement.type)) text += pythonText(value);
      }
      return this.text(text, scope);
    }

    override applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue {
      const called = filter.type === "CallExpression" ? (filter as Call) : undefined;
      const { value: name } = (called?.callee ?? filter) as Identifier;
      const ofText = textFilters.get(name);
      if (ofText) {
        const [characters] = called ? this.evaluateArguments(called.args, scope)[0] : [];
        const text = pythonText(operand);
        const strips = name === "trim" && characters && isText(characters);
        return this.text(strips ? stripped(text, "strip", characters.value as string) : ofText(text), scope);
      }
      if (name === "length" && (isText(operand) || operand.type === "UndefinedValue"))
        return super.evaluate(
          { type: "IntegerLiteral", value: this.lengthOf(pythonText(operand)) } as unknown as Statement,
          scope,
        );
      if (!ITERATING.has(name)) return super.applyFilter(operand, filter, scope);
      const items = this.itemsOf(operand, scope);
      const given = this.evaluateArguments(called?.args ?? [], scope);
      if (/^(?:select|reject)/u.test(name)) return this.array(this.selected(items, name, given[0], scope), scope);
      if (name === "map") return this.array(this.mapped(items, given, scope), scope);
      const texts = name === "join" ? items.map((item) => this.text(pythonText(item), scope)) : items;
      // The first of none is undefined.
      return super.applyFilter(this.array(texts, scope), filter, scope) ?? this.evaluate(undefined, scope);
    }

    /** What a loop, or a filter of many, goes over. */
    private itemsOf(value: RuntimeValue, scope: Scope): RuntimeValue[] {
      if (isArray(value)) return value.value as RuntimeValue[];
      if (value.type === "UndefinedValue") return [];
      const isObject = value.value instanceof Map && value.type !== "NamespaceValue";
      if (!isText(value) && !isObject) throw new Error(`${value.type} is nothing to go over`);
      const parts = isObject
        ? [...(value.value as Map<string, unknown>).keys()]
        : this.charactersOf(value.value as string);
      return parts.map((part) => this.text(part, scope));
    }

    /** Of a text in characters, without the guard's marks. */
    private lengthOf(text: string): number {
      let length = 0;
      for (const character of text) if (character !== this.mark) length++;
      return length;
    }

    /** The characters of a text, the guard's mark with the one that it stands behind. */
    private charactersOf(text: string): string[] {
      if (text.length > renderLimits.elements)
        throw new LimitError(`an array of more than ${renderLimits.elements} elements`);
      const out: string[] = [];
      for (const character of text) {
        if (character === this.mark && out.length > 0) out[out.length - 1] += character;
        else out.push(character);
      }
      return out;
    }

    private selected(
      items: readonly RuntimeValue[],
      name: string,
      args: readonly RuntimeValue[],
      scope: Scope,
    ): RuntimeValue[] {
      const byAttribute = name.endsWith("attr");
      const path = byAttribute ? args[0] : undefined;
      const [test, ...given] = args.slice(byAttribute ? 1 : 0);
      const selects = name.startsWith("select");
      return items.filter((item) => {
        const value = path ? this.attributeOf(item, path, scope) : item;
        return this.holds(value, test, given, scope) === selects;
      });
    }

    private holds(
      value: RuntimeValue,
      test: RuntimeValue | undefined,
      given: readonly RuntimeValue[],
      scope: Scope,
    ): boolean {
      if (!test) return value.__bool__().value;
      const name = String(test.value);
      const operator = Object.hasOwn(COMPARISONS, name) ? COMPARISONS[name]! : undefined;
      if (operator && given[0]) {
        const node: Binary = {
          type: "BinaryExpression",
          operator: { value: operator },
          left: known(value),
          right: known(given[0]),
        };
        return super.evaluateBinaryExpression(node, scope).__bool__().value;
      }
      const found = scope.tests.get(name);
      if (!found) throw new Error(`Unknown test: ${name}`);
      return found(value, ...given);
    }

    /** `map(attribute=…)` and `map("filter", …)`. */
    private mapped(
      items: readonly RuntimeValue[],
      [args, named]: [RuntimeValue[], Map<string, RuntimeValue>],
      scope: Scope,
    ): RuntimeValue[] {
      const path = named.get("attribute");
      const otherwise = named.get("default");
      if (path)
        return items.map((item) => {
          const value = this.attributeOf(item, path, scope);
          return value.type === "UndefinedValue" ? (otherwise ?? value) : value;
        });
      const [name, ...rest] = args;
      if (!name) throw new Error("map: expected an attribute or the name of a filter");
      const callee = { type: "Identifier", value: String(name.value) } as Identifier;
      const filter = rest.length === 0 ? callee : ({ type: "CallExpression", callee, args: rest.map(known) } as Call);
      return items.map((item) => this.applyFilter(item, filter, scope));
    }

    /** What `attribute="a.0.b"` names of an item; undefined where it has none. */
    private attributeOf(item: RuntimeValue, path: RuntimeValue, scope: Scope): RuntimeValue {
      let at = item;
      for (const part of String(path.value).split(".")) {
        const isPlace = (isArray(at) || isText(at)) && /^\d+$/u.test(part);
        const property = { type: isPlace ? "IntegerLiteral" : "StringLiteral", value: isPlace ? Number(part) : part };
        at = super.evaluate(
          { type: "MemberExpression", object: known(at), property, computed: true } as unknown as Member,
          scope,
        );
      }
      return at;
    }

    /** A loop over what jinja2 goes over: texts and what is undefined as well. */
    private going(loop: Loop, scope: Scope): Loop {
      const select = loop.iterable.type === "SelectExpression" ? (loop.iterable as Select) : undefined;
      const value = this.evaluate(select?.lhs ?? loop.iterable, scope);
      let items = this.itemsOf(value, scope);
      // A pair may be a tuple, or a text of two characters.
      const splits = loop.loopvar.type === "TupleLiteral" && items.some((item) => item.type !== "ArrayValue");
      if (splits) items = items.map((item) => this.array(this.itemsOf(item, scope), scope));
      const iterable = known(isArray(value) && !splits ? value : this.array(items, scope));
      return { ...loop, iterable: select ? ({ ...select, lhs: iterable } as Select) : iterable };
    }

    /**
     * `~` makes texts of both sides. But a template that puts a call's arguments into its text as they are wants JSON: an object is no
     * text until then.
     */
    override evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue {
      const { value: operator } = node.operator;
      if (operator !== "+" && operator !== "~") return super.evaluateBinaryExpression(node, scope);
      const sides = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
      const joins = sides.some(isText);
      const [left, right] = sides.map((side): Known => {
        if (joins && side.type === "ObjectValue") return known(this.text(String(side), scope));
        return known(operator === "~" ? this.text(pythonText(side), scope) : side);
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

    private array(items: readonly RuntimeValue[], scope: Scope): RuntimeValue {
      return super.evaluate({ type: "ArrayLiteral", value: items.map(known) } as unknown as Statement, scope);
    }

    private text(value: string, scope: Scope): RuntimeValue {
      return super.evaluate({ type: "StringLiteral", value } as Identifier, scope);
    }
  };
}

/** The interpreter's class, made when it is first asked for. */
let made: LimitedInterpreter | undefined;

export function limitedInterpreter(): LimitedInterpreter {
  made ??= makeInterpreter();
  return made;
}
