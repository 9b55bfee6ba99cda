// The part of the interpreter that creates and reads values, and counts their memory.
import type { Values } from "./filter-arguments.ts";
import {
  type Evaluator,
  type Identifier,
  jinja,
  KNOWN,
  type Known,
  type Literal,
  type Member,
  type Scope,
  type Statement,
} from "./jinja.ts";
import { checkElements, sizes, spend, spendText } from "./limits.ts";
import type { RuntimeValue } from "./repr.ts";

/** Nodes that create values. Literals of arrays, tuples and objects do too. Other nodes return existing values or constants. */
const MAKING = new Set([
  "BinaryExpression",
  "CallExpression",
  "FilterExpression",
  "FilterStatement",
  "MemberExpression",
]);
const LITERALS = new Set(["ArrayLiteral", "TupleLiteral", "ObjectLiteral"]);
/** Values of at least this size, in UTF-16 units or elements, are remembered, so that each is counted only once. */
const LARGE = 256;
const isSlice = (node: Statement) => (node as Member).computed && (node as Member).property.type === "SliceExpression";

/** Whether a value is a string. */
export const isText = (value: RuntimeValue) => value.type === "StringValue";
/** Whether a value is an array or a tuple. */
export const isArray = (value: RuntimeValue) => Array.isArray(value.value);
/** Returns a node that evaluates to the value. */
export const known = (value: RuntimeValue): Known => ({ type: KNOWN, value });

/** An interpreter that creates values, and reads them as Jinja2 does. */
export interface ValueEvaluator extends Evaluator {
  /** Counts the memory of a value that a node has created. */
  count(node: Statement, value: RuntimeValue): void;
  /** Returns the items over which a loop or a filter iterates. */
  itemsOf(value: RuntimeValue, scope: Scope): RuntimeValue[];
  /** Returns the length of a text in characters, without the guard's marks. */
  lengthOf(text: string): number;
  /** Resolves a path such as `attribute="a.0.b"` on an item; undefined if missing. */
  attributeOf(item: RuntimeValue, path: RuntimeValue, scope: Scope): RuntimeValue;
  /** Returns the value constructors and accessors for filters and methods. */
  values(scope: Scope): Values;
  boolean(value: boolean, scope: Scope): RuntimeValue;
  array(items: readonly RuntimeValue[], scope: Scope): RuntimeValue;
  integer(value: number, scope: Scope): RuntimeValue;
  text(value: string, scope: Scope): RuntimeValue;
  /** Returns an empty object. */
  object(scope: Scope): RuntimeValue;
}

/** @param mark the guard's mark, which follows characters of messages that could begin a special token: see ChatGuard */
export type InterpreterClass<T> = new (scope: Scope, mark?: string) => T;

/** Makes the class of interpreters that create values, and read them as Jinja2 does. */
export function valueInterpreter(): InterpreterClass<ValueEvaluator> {
  return class extends jinja().Interpreter implements ValueEvaluator {
    private readonly mark: string | undefined;
    /** Large values that have been counted. */
    private readonly counted = new WeakSet<RuntimeValue>();

    constructor(scope: Scope, mark?: string) {
      super(scope);
      this.mark = mark;
    }

    override evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue {
      if (statement?.type === "ObjectLiteral") {
        const entries = [...(statement as Literal<Iterable<[Literal<unknown>, Statement]>>).value];
        if (entries.length > 0 && entries.every(([key]) => key.type === "IntegerLiteral"))
          return this.numberedObject(entries, scope);
      }
      return super.evaluate(statement, scope);
    }

    /** Evaluates an object literal with integer keys, such as `{0: "a"}`. The package supports only string keys. */
    private numberedObject(entries: readonly [Literal<unknown>, Statement][], scope: Scope): RuntimeValue {
      const value = entries.map(([key, item]) => [{ type: "StringLiteral", value: String(key.value) }, item]);
      const object = super.evaluate({ type: "ObjectLiteral", value } as Literal<unknown>, scope);
      return Object.assign(object, {
        isNumbered: true,
        keys: () => this.array(this.itemsOf(object, scope), scope),
        items: () => {
          const pairs = this.itemsOf(object, scope).map((key) =>
            this.array([key, (object.value as Map<string, RuntimeValue>).get(String(key.value))!], scope),
          );
          return this.array(pairs, scope);
        },
      });
    }

    /** Operations that may create large values also check the limits themselves, before they create a value. */
    count(node: Statement, value: RuntimeValue): void {
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

    itemsOf(value: RuntimeValue, scope: Scope): RuntimeValue[] {
      if (isArray(value)) return value.value as RuntimeValue[];
      if (value.type === "UndefinedValue") return [];
      const isObject = value.value instanceof Map && value.type !== "NamespaceValue";
      if (!isText(value) && !isObject) throw new Error(`${value.type} is not iterable`);
      const parts = isObject
        ? [...(value.value as Map<string, unknown>).keys()]
        : this.charactersOf(value.value as string);
      if (value.isNumbered) return parts.map((part) => this.integer(Number(part), scope));
      return parts.map((part) => this.text(part, scope));
    }

    lengthOf(text: string): number {
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

    attributeOf(item: RuntimeValue, path: RuntimeValue, scope: Scope): RuntimeValue {
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

    values(scope: Scope): Values {
      return {
        array: (items) => this.array(items, scope),
        tuple: (items) => {
          spend(sizes.element * items.length);
          return super.evaluate({ type: "TupleLiteral", value: items.map(known) } as unknown as Statement, scope);
        },
        text: (value) => this.text(value, scope),
        integer: (value) => this.integer(value, scope),
        float: (value) => super.evaluate({ type: "FloatLiteral", value } as unknown as Statement, scope),
        boolean: (value) => this.boolean(value, scope),
        undefined: () => super.evaluate(undefined, scope),
        items: (value) => this.itemsOf(value, scope),
        attribute: (item, path) => this.attributeOf(item, path, scope),
        characters: (text) => this.charactersOf(text),
        plain: (text) => (this.mark === undefined ? text : text.replaceAll(this.mark, "")),
      };
    }

    boolean(value: boolean, scope: Scope): RuntimeValue {
      // The package does not export its boolean class. Evaluate `0 == 0` or `0 != 0` instead.
      const zero = known(super.evaluate({ type: "IntegerLiteral", value: 0 } as unknown as Statement, scope));
      const operator = { value: value ? "==" : "!=" };
      return super.evaluateBinaryExpression({ type: "BinaryExpression", operator, left: zero, right: zero }, scope);
    }

    array(items: readonly RuntimeValue[], scope: Scope): RuntimeValue {
      spend(sizes.element * items.length);
      return super.evaluate({ type: "ArrayLiteral", value: items.map(known) } as unknown as Statement, scope);
    }

    object(scope: Scope): RuntimeValue {
      return super.evaluate({ type: "ObjectLiteral", value: [] } as Literal<unknown>, scope);
    }

    integer(value: number, scope: Scope): RuntimeValue {
      return super.evaluate({ type: "IntegerLiteral", value } as unknown as Statement, scope);
    }

    text(value: string, scope: Scope): RuntimeValue {
      return super.evaluate({ type: "StringLiteral", value } as Identifier, scope);
    }
  };
}
