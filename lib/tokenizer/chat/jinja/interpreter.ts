// Extends the package's Jinja interpreter: it limits work and memory, and adds behaviour of Jinja2 and Python strings that templates rely
// on.

import { jsonOf } from "../../chat-json.ts";
import { Arguments, checkedWidth, filters, type Values } from "./filters.ts";
import {
  type Binary,
  type Call,
  type Evaluator,
  type Identifier,
  jinja,
  KNOWN,
  type Known,
  type Loop,
  type Member,
  type Scope,
  type Select,
  type Slice,
  type Spread,
  type Statement,
  type Test,
} from "./jinja.ts";
import { checkElements, checkTaken, giveBack, LimitError, renderLimits, sizes, spend, spendText } from "./limits.ts";
import { listMethods, textMethods } from "./methods.ts";
import { formatted } from "./printf.ts";
import { charactersOf, pythonRepr, pythonText, type RuntimeValue, stripped, textFilters } from "./repr.ts";

/** Returns the parts of `object.name(…)` if this module handles a method of that name. */
function methodOf(statement: Statement | undefined): { call: Call; callee: Member; name: string } | undefined {
  if (statement?.type !== "CallExpression") return undefined;
  const call = statement as Call;
  const callee = call.callee as Member;
  if (callee.type !== "MemberExpression" || callee.computed) return undefined;
  const name = callee.property.value;
  return textMethods.has(name) || listMethods.has(name) || LOOP_METHODS.has(name) ? { call, callee, name } : undefined;
}

/** Methods of the `loop` variable. */
const LOOP_METHODS = new Set(["cycle", "changed"]);

/** Nodes that print their own output, or nothing. The values of other nodes are printed in Python's string form. */
const STATEMENTS = new Set(["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Comment"]);

/** Nodes that create values. Other nodes return existing values or constants. */
const MAKING = new Set([
  "BinaryExpression",
  "CallExpression",
  "FilterExpression",
  "FilterStatement",
  "MemberExpression",
]);
const LITERALS = new Set(["ArrayLiteral", "TupleLiteral", "ObjectLiteral"]);
/** Minimum size, in UTF-16 units or elements, of values that are remembered, so that each is counted only once. */
const LARGE = 256;
/** Bytes of memory that a loop needs per iteration. */
const ROUND = 128;

/** Filters that iterate over their operand. It may also be a text (over its characters) or an object (over its keys). */
const ITERATING = new Set([
  ...["list", "first", "last", "sort", "map"],
  ...["select", "reject", "selectattr", "rejectattr"],
]);

const CHOOSING = /^(?:select|reject|map)/u;

/** Aliases of filters. */
const ALIASES: Readonly<Record<string, string>> = { d: "default", count: "length" };

/** Tests that equal operators. */
const COMPARISONS: Readonly<Record<string, string>> = {
  ...{ eq: "==", equalto: "==", sameas: "==", "==": "==", ne: "!=", "!=": "!=", in: "in" },
  ...{ lt: "<", lessthan: "<", "<": "<", le: "<=", "<=": "<=" },
  ...{ gt: ">", greaterthan: ">", ">": ">", ge: ">=", ">=": ">=" },
};

/** Tests that the interpreter package lacks. */
const ownTests: ReadonlyMap<string, (value: RuntimeValue, ...given: RuntimeValue[]) => boolean> = new Map<
  string,
  (value: RuntimeValue, ...given: RuntimeValue[]) => boolean
>([
  ["float", ({ type }) => type === "FloatValue"],
  ["escaped", () => false],
  ["divisibleby", ({ value }, by) => typeof value === "number" && value % Number(by?.value) === 0],
]);

const isJoining = (node: Statement) =>
  node.type === "BinaryExpression" && ["+", "~"].includes((node as Binary).operator.value);
const isSlice = (node: Statement) => (node as Member).computed && (node as Member).property.type === "SliceExpression";

const isText = (value: RuntimeValue) => value.type === "StringValue";
const isArray = (value: RuntimeValue) => Array.isArray(value.value);
const known = (value: RuntimeValue): Known => ({ type: KNOWN, value });

/** @param mark the guard's mark, which follows characters of messages that could begin a special token: see ChatGuard */
type LimitedInterpreter = new (scope: Scope, mark?: string) => Evaluator;

function makeInterpreter(): LimitedInterpreter {
  return class extends jinja().Interpreter {
    private readonly mark: string | undefined;
    private steps = 0;
    /** Large values that have been counted. */
    private readonly counted = new WeakSet<RuntimeValue>();
    /** The last arguments of `loop.changed`, per active loop. */
    private readonly changes: (string | undefined)[] = [];

    constructor(scope: Scope, mark?: string) {
      super(scope);
      this.mark = mark;
    }

    /** @param statement undefined for an omitted part of a slice */
    override evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue {
      if (statement?.type === KNOWN) return (statement as Known).value;
      if (++this.steps > renderLimits.steps) throw new LimitError(`more than ${renderLimits.steps} steps`);
      const node = statement?.type === "For" ? this.withIterable(statement as Loop, scope) : statement;
      const result = node?.type === "For" ? this.runLoop(node, scope) : this.callMethod(node, scope);
      if (node) this.count(node, result);
      return result;
    }

    /** Counts the memory of a value that a node has created. Operations that create large values check the limits themselves before. */
    private count(node: Statement, value: RuntimeValue): void {
      const { type } = node;
      const isLiteral = LITERALS.has(type);
      if (!isLiteral && !(MAKING.has(type) && (type !== "MemberExpression" || isSlice(node)))) return;
      const { value: made } = value;
      const isTextOrArray = typeof made === "string" || Array.isArray(made);
      if (!isTextOrArray && !(made instanceof Map)) return;
      const size = isTextOrArray ? made.length : made.size;
      if (size >= LARGE) {
        if (this.counted.has(value)) return;
        this.counted.add(value);
      }
      if (typeof made === "string") spendText(size);
      else if (made instanceof Map) spend(sizes.entry + sizes.element * size);
      else {
        checkElements(size);
        const isOfPairs = Array.isArray((made as RuntimeValue[])[0]?.value);
        const isNew = isLiteral || type === "CallExpression";
        spend(size * (isOfPairs ? sizes.entry : isNew ? sizes.element : sizes.shared));
      }
    }

    override evaluateBlock(statements: readonly Statement[], scope: Scope): RuntimeValue {
      let text = "";
      for (const statement of statements) {
        const value = this.evaluate(statement, scope);
        const isStatement = STATEMENTS.has(statement.type);
        const printed = isText(value) ? (value.value as string) : isStatement ? "" : pythonText(value);
        if (!isStatement) spendText(printed.length); // statements have counted their output themselves
        text += printed;
        if (text.length > renderLimits.characters)
          throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
      }
      return this.text(text, scope);
    }

    override applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue {
      const called = filter.type === "CallExpression" ? (filter as Call) : undefined;
      const { value: given } = (called?.callee ?? filter) as Identifier;
      const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
      const own = filters.get(name);
      if (own) {
        const args = new Arguments(own.names, this.evaluateArguments(called?.args ?? [], scope));
        return own.apply(operand, args, this.values(scope));
      }
      if (name === "format") {
        const [args, named] = this.evaluateArguments(called?.args ?? [], scope);
        return this.text(formatted(pythonText(operand), args, named), scope);
      }
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
      if (name !== given) {
        const callee = { type: "Identifier", value: name } as Identifier;
        return this.applyFilter(operand, called ? ({ ...called, callee } as Call) : callee, scope);
      }
      if (!ITERATING.has(name)) return super.applyFilter(operand, filter, scope);
      const items = this.itemsOf(operand, scope);
      if (isArray(operand) && !CHOOSING.test(name))
        return super.applyFilter(operand, filter, scope) ?? this.evaluate(undefined, scope);
      const args = this.evaluateArguments(called?.args ?? [], scope);
      if (name !== "map" && CHOOSING.test(name)) return this.array(this.selected(items, name, args[0], scope), scope);
      if (name === "map") return this.array(this.applyMap(items, args, scope), scope);
      // `first` and `last` of an empty list are undefined.
      return super.applyFilter(this.array(items, scope), filter, scope) ?? this.evaluate(undefined, scope);
    }

    /** Returns the items over which a loop or a filter iterates. */
    private itemsOf(value: RuntimeValue, scope: Scope): RuntimeValue[] {
      if (isArray(value)) return value.value as RuntimeValue[];
      if (value.type === "UndefinedValue") return [];
      const isObject = value.value instanceof Map && value.type !== "NamespaceValue";
      if (!isText(value) && !isObject) throw new Error(`${value.type} is not iterable`);
      const parts = isObject
        ? [...(value.value as Map<string, unknown>).keys()]
        : this.charactersOf(value.value as string);
      return parts.map((part) => this.text(part, scope));
    }

    /** Returns the length of a text in characters, without the guard's marks. */
    private lengthOf(text: string): number {
      let length = 0;
      for (const character of text) if (character !== this.mark) length++;
      return length;
    }

    /** Returns the characters of a text, each with the guard's mark that follows it. */
    private charactersOf(text: string): string[] {
      checkElements(text.length);
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
      const found = ownTests.get(name) ?? scope.tests.get(name);
      if (!found) throw new Error(`Unknown test: ${name}`);
      return found(value, ...given);
    }

    override evaluateTestExpression(node: Test, scope: Scope): RuntimeValue {
      const found = ownTests.get(node.test.value);
      if (!found) return super.evaluateTestExpression(node, scope);
      return this.boolean(found(this.evaluate(node.operand, scope)) !== node.negate, scope);
    }

    /** Applies `map(attribute=…)` or `map("filter", …)`. */
    private applyMap(
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
      return items.map((item) => {
        const value = this.applyFilter(item, filter, scope);
        this.count({ type: "FilterExpression" }, value);
        return value;
      });
    }

    /** Resolves a path such as `attribute="a.0.b"` on an item; undefined if missing. */
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

    /** Evaluates a loop's iterable as Jinja2 does: texts and undefined values can be iterated too. */
    private withIterable(loop: Loop, scope: Scope): Loop {
      const select = loop.iterable.type === "SelectExpression" ? (loop.iterable as Select) : undefined;
      const value = this.evaluate(select?.lhs ?? loop.iterable, scope);
      let items = this.itemsOf(value, scope);
      // A loop over pairs also unpacks tuples, and texts of two characters.
      const splits = loop.loopvar.type === "TupleLiteral" && items.some((item) => item.type !== "ArrayValue");
      if (splits) items = items.map((item) => this.array(this.itemsOf(item, scope), scope));
      const iterable = known(isArray(value) && !splits ? value : this.array(items, scope));
      return { ...loop, iterable: select ? ({ ...select, lhs: iterable } as Select) : iterable };
    }

    /**
     * Evaluates binary operators. `~` converts both sides to strings. Objects become JSON, because templates that concatenate the
     * arguments of a tool call expect it.
     */
    override evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue {
      const { value: operator } = node.operator;
      if (operator === "*" || operator === "%") return this.timesOrFormat(node, scope);
      if (operator === "==" || operator === "!=") return this.equality(node, scope);
      if (operator !== "+" && operator !== "~") return super.evaluateBinaryExpression(node, scope);
      const sides = [this.evaluateOperand(node.left, scope), this.evaluateOperand(node.right, scope)];
      const joins = sides.some(isText);
      const [left, right] = sides.map((side): Known => {
        if (joins && side.type === "ObjectValue")
          return known(this.text(jsonOf(side, { undefined: "undefined" }), scope));
        if (joins && operator === "+" && isArray(side))
          throw new Error(`Unknown operator "+" between a text and ${side.type}`);
        return known(operator === "~" ? this.text(pythonText(side), scope) : side);
      });
      return super.evaluateBinaryExpression({ ...node, left: left!, right: right! }, scope);
    }

    /** Evaluates an operand of `+` or `~`. Only the final text of `a + b + c` is counted, because V8 does not materialize `a + b`. */
    private evaluateOperand(node: Statement, scope: Scope): RuntimeValue {
      if (!isJoining(node)) return this.evaluate(node, scope);
      this.steps++;
      const value = this.evaluateBinaryExpression(node as Binary, scope);
      if (!isText(value)) this.count(node, value);
      else if ((value.value as string).length > renderLimits.characters)
        throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
      return value;
    }

    /** Compares values. An array never equals a text or a number; JavaScript would convert it to a text first. */
    private equality(node: Binary, scope: Scope): RuntimeValue {
      const [left, right] = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
      if (isArray(left) !== isArray(right)) return this.boolean(node.operator.value === "!=", scope);
      return super.evaluateBinaryExpression({ ...node, left: known(left), right: known(right) }, scope);
    }

    /** Slices texts by characters, without creating a value for each. */
    override evaluateSliceExpression(object: RuntimeValue, node: Slice, scope: Scope): RuntimeValue {
      const [start, stop, step] = [node.start, node.stop, node.step].map((part) => this.evaluate(part, scope));
      const bounds = [start!, stop!].map(({ value }) => value);
      const isPlain = bounds.every((bound) => bound === undefined || Number.isInteger(bound));
      if (isText(object) && isPlain && (step!.value === undefined || step!.value === 1)) {
        const [from, to] = bounds as (number | undefined)[];
        return this.text(charactersOf(object.value as string, from, to), scope);
      }
      if (isText(object)) checkTaken(object.value as string);
      return super.evaluateSliceExpression(
        object,
        { ...node, start: known(start!), stop: known(stop!), step: known(step!) },
        scope,
      );
    }

    /** Evaluates member access. It drops the table of methods that the package attaches to a text, to save memory. */
    override evaluateMemberExpression(node: Member, scope: Scope): RuntimeValue {
      const object = this.evaluate(node.object, scope);
      const value = super.evaluateMemberExpression({ ...node, object: known(object) }, scope);
      if (value.type === "FunctionValue" && isText(object)) (object as { _builtins?: unknown })._builtins = undefined;
      return value;
    }

    /** Evaluates arguments. `f(*list)` passes each item of the list as an argument. */
    override evaluateArguments(given: readonly Statement[], scope: Scope): [RuntimeValue[], Map<string, RuntimeValue>] {
      const args = given.map((node) => {
        if (node.type !== "SpreadExpression") return node;
        const argument = this.evaluate((node as Spread).argument, scope);
        if (isArray(argument)) spend(sizes.shared * 2 * (argument.value as unknown[]).length);
        return { ...node, argument: known(argument) };
      });
      return super.evaluateArguments(args, scope);
    }

    /** Evaluates `"-" * 3`, `[0] * 3`, `7 % 3` and `"%d of %d" % (1, 2)`. */
    private timesOrFormat(node: Binary, scope: Scope): RuntimeValue {
      const [left, right] = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
      const evaluated = { ...node, left: known(left), right: known(right) };
      if (node.operator.value === "%") {
        if (typeof left.value === "number" && typeof right.value === "number" && right.value !== 0) {
          // As in Python, the result has the sign of the divisor.
          const rest = left.value % right.value;
          const value = rest !== 0 && rest < 0 !== right.value < 0 ? rest + right.value : rest;
          const type = left.type === "FloatValue" || right.type === "FloatValue" ? "FloatLiteral" : "IntegerLiteral";
          return super.evaluate({ type, value } as unknown as Statement, scope);
        }
        if (!isText(left)) return super.evaluateBinaryExpression(evaluated, scope);
        const named = right.type === "ObjectValue" ? (right.value as Map<string, RuntimeValue>) : new Map();
        const values = right.type === "TupleValue" ? (right.value as RuntimeValue[]) : named.size > 0 ? [] : [right];
        return this.text(formatted(left.value as string, values, named), scope);
      }
      const [many, count] = typeof right.value === "number" ? [left, right.value] : [right, left.value];
      if (typeof count !== "number" || !(isText(many) || isArray(many)))
        return super.evaluateBinaryExpression(evaluated, scope);
      const times = Math.max(0, Math.trunc(count));
      const { length } = many.value as string | unknown[];
      if (isText(many)) {
        checkedWidth(times * length);
        return this.text((many.value as string).repeat(times), scope);
      }
      checkElements(times * length);
      return this.array(Array.from({ length: times }, () => many.value as RuntimeValue[]).flat(), scope);
    }

    /** Runs a loop. Each loop has its own state of `loop.changed`. */
    private runLoop(node: Statement, scope: Scope): RuntimeValue {
      const { iterable } = node as Loop;
      const over = iterable.type === "SelectExpression" ? (iterable as Select).lhs : iterable;
      const kept = ROUND * ((over as Known).value.value as unknown[]).length;
      spend(kept);
      this.changes.push(undefined);
      try {
        return super.evaluate(node, scope);
      } finally {
        this.changes.pop();
        giveBack(kept);
      }
    }

    /** Calls a method that the package lacks or implements incompletely. Everything else is left to the package. */
    private callMethod(statement: Statement | undefined, scope: Scope): RuntimeValue {
      const method = methodOf(statement);
      if (!method) return super.evaluate(statement, scope);
      const { call, callee, name } = method;
      const object = this.evaluate(callee.object, scope);
      // Pass the evaluated object, so that it is not evaluated twice.
      const rest = () => super.evaluate({ ...call, callee: { ...callee, object: known(object) } } as Call, scope);
      const isLoop = LOOP_METHODS.has(name) && (callee.object as Identifier).value === "loop";
      if (isLoop && object.value instanceof Map && object.value.has("index0")) {
        const [given] = this.evaluateArguments(call.args, scope);
        if (name === "changed") {
          const now = pythonRepr(this.array(given, scope));
          const changed = this.changes.at(-1) !== now;
          this.changes[this.changes.length - 1] = now;
          return this.boolean(changed, scope);
        }
        if (given.length === 0) throw new Error("loop.cycle: expected at least one item");
        return given[(object.value.get("index0").value as number) % given.length]!;
      }
      const found = isText(object)
        ? textMethods.get(name)
        : object.type === "ArrayValue"
          ? listMethods.get(name)
          : undefined;
      if (!found) return rest();
      const [given, named] = this.evaluateArguments(call.args, scope);
      return found(object, given, { ...this.values(scope), named }) ?? rest();
    }

    /** Returns the value constructors and accessors for filters and methods. */
    private values(scope: Scope): Values {
      return {
        array: (items) => this.array(items, scope),
        tuple: (items) => {
          spend(sizes.element * items.length);
          return super.evaluate({ type: "TupleLiteral", value: items.map(known) } as unknown as Statement, scope);
        },
        text: (value) => this.text(value, scope),
        integer: (value) => super.evaluate({ type: "IntegerLiteral", value } as unknown as Statement, scope),
        float: (value) => super.evaluate({ type: "FloatLiteral", value } as unknown as Statement, scope),
        boolean: (value) => this.boolean(value, scope),
        undefined: () => super.evaluate(undefined, scope),
        items: (value) => this.itemsOf(value, scope),
        attribute: (item, path) => this.attributeOf(item, path, scope),
        characters: (text) => this.charactersOf(text),
        plain: (text) => (this.mark === undefined ? text : text.replaceAll(this.mark, "")),
      };
    }

    private boolean(value: boolean, scope: Scope): RuntimeValue {
      const zero = known(super.evaluate({ type: "IntegerLiteral", value: 0 } as unknown as Statement, scope));
      const operator = { value: value ? "==" : "!=" };
      return super.evaluateBinaryExpression({ type: "BinaryExpression", operator, left: zero, right: zero }, scope);
    }

    private array(items: readonly RuntimeValue[], scope: Scope): RuntimeValue {
      spend(sizes.element * items.length);
      return super.evaluate({ type: "ArrayLiteral", value: items.map(known) } as unknown as Statement, scope);
    }

    private text(value: string, scope: Scope): RuntimeValue {
      return super.evaluate({ type: "StringLiteral", value } as Identifier, scope);
    }
  };
}

/** The interpreter's class, which is made on first use. */
let made: LimitedInterpreter | undefined;

export function limitedInterpreter(): LimitedInterpreter {
  made ??= makeInterpreter();
  return made;
}
