// The part of the interpreter that applies filters and tests.
import { Arguments } from "./filter-arguments.ts";
import { filters } from "./filters.ts";
import type { Binary, Call, Identifier, Scope, Statement } from "./jinja.ts";
import { formatted } from "./printf.ts";
import { isLower, isUpper, pythonText, type RuntimeValue, stripped, textFilters } from "./repr.ts";
import { testOf } from "./tests.ts";
import {
  type InterpreterClass,
  isArray,
  isText,
  known,
  type ValueEvaluator,
  valueInterpreter,
} from "./value-interpreter.ts";

/**
 * Filters that iterate over their operand. The operand may also be a text (iterated by character) or an object
 * (iterated by key).
 */
const ITERATING = new Set([
  ...["list", "first", "last", "sort", "map"],
  ...["select", "reject", "selectattr", "rejectattr"],
]);

/** Filters that select or convert each item. */
const CHOOSING = /^(?:select|reject|map)/u;

/** Aliases of filters. */
const ALIASES: Readonly<Record<string, string>> = { d: "default", count: "length" };

/** Tests that are equivalent to an operator. */
const COMPARISONS: Readonly<Record<string, string>> = {
  ...{ eq: "==", equalto: "==", "==": "==", ne: "!=", "!=": "!=", in: "in" },
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
  ["iterable", (value) => isText(value) || isArray(value) || ["ObjectValue", "UndefinedValue"].includes(value.type)],
  ["lower", (value) => isLower(pythonText(value))],
  ["upper", (value) => isUpper(pythonText(value))],
  ["divisibleby", ({ value }, by) => typeof value === "number" && value % Number(by?.value) === 0],
  ["sameas", (value, other) => value.type === other?.type && value.value === other.value],
]);

/** Makes the class of interpreters with the filters and tests of Jinja2. */
export function filterInterpreter(): InterpreterClass<ValueEvaluator> {
  return class extends valueInterpreter() {
    override applyFilter(operand: RuntimeValue, filter: Statement, scope: Scope): RuntimeValue {
      const called = filter.type === "CallExpression" ? (filter as Call) : undefined;
      const { value: given } = (called?.callee ?? filter) as Identifier;
      const test = testOf(given);
      if (test) {
        const [args] = this.evaluateArguments(called?.args ?? [], scope);
        return this.boolean(this.holds(operand, this.text(test.name, scope), args, scope) !== test.negated, scope);
      }
      const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
      const own = filters.get(name);
      if (own) {
        const args = new Arguments(own.names, this.evaluateArguments(called?.args ?? [], scope));
        return own.apply(operand, args, this.values(scope));
      }
      if (name === "format") {
        const [args, named] = this.evaluateArguments(called?.args ?? [], scope);
        if (args.length > 0 && named.size > 0) throw new Error("format: expected positional or named values, got both");
        const right = named.size > 0 ? { type: "ObjectValue", value: named } : { type: "TupleValue", value: args };
        return this.text(formatted(pythonText(operand), right as RuntimeValue), scope);
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
      if (operator) {
        if (!given[0]) throw new Error(`${name}: expected an argument, got nothing`);
        const node: Binary = {
          type: "BinaryExpression",
          operator: { value: operator },
          left: known(value),
          right: known(given[0]),
        };
        return this.evaluateBinaryExpression(node, scope).__bool__().value;
      }
      const found = ownTests.get(name) ?? scope.tests.get(name);
      if (!found) throw new Error(`Unknown test: ${name}`);
      return found(value, ...given);
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
  };
}
