// Extends the interpreter of @huggingface/jinja ("the package"): limits its work and memory, and adds behavior of Jinja2 and Python that
// templates rely on.

import { atOnce, type Slices } from "../../../core/slices.ts";
import { jsonOf } from "../../chat-json.ts";
import { filterInterpreter } from "./filter-interpreter.ts";
import { areEqual, checkedWidth, compared } from "./filters.ts";
import {
  type Binary,
  type Call,
  type Condition,
  type Evaluator,
  type Identifier,
  KNOWN,
  type Known,
  type Loop,
  type Member,
  type Program,
  type Scope,
  type Slice,
  type Spread,
  type Statement,
} from "./jinja.ts";
import { checkElements, checkTaken, isSliceOver, LimitError, renderLimits, sizes, spend, spendText } from "./limits.ts";
import { iterations, LoopControl } from "./loop.ts";
import { listMethods, textMethods } from "./methods.ts";
import { formatted } from "./printf.ts";
import { charactersOf, pythonRepr, pythonText, type RuntimeValue } from "./repr.ts";
import { type InterpreterClass, isArray, isText, known } from "./value-interpreter.ts";

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

function checkLength({ length }: string): void {
  if (length > renderLimits.characters)
    throw new LimitError(`a text of more than ${renderLimits.characters} characters`);
}

const COMPARING = new Set(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]);

const isJoining = (node: Statement) =>
  node.type === "BinaryExpression" && ["+", "~"].includes((node as Binary).operator.value);
/** An interpreter with limits. */
interface LimitedEvaluator extends Evaluator {
  /** Runs a program. It yields between statements, but not within expressions and macros. */
  runInSlices(program: unknown): Slices<RuntimeValue>;
}

function makeInterpreter(): InterpreterClass<LimitedEvaluator> {
  return class extends filterInterpreter() implements LimitedEvaluator {
    private readonly environment: Scope;
    private steps = 0;
    /** The last arguments of `loop.changed`, per active loop. */
    private readonly changes: (string | undefined)[] = [];

    constructor(scope: Scope, mark?: string) {
      super(scope, mark);
      this.environment = scope;
    }

    /** @param statement undefined for an omitted part of a slice */
    override evaluate(statement: Statement | undefined, scope: Scope): RuntimeValue {
      if (statement?.type === KNOWN) return (statement as Known).value;
      if (statement?.type === "For") return atOnce(this.statement(statement, scope));
      this.step();
      const result = this.callMethod(statement, scope);
      if (statement) this.count(statement, result);
      return result;
    }

    private step(): void {
      if (++this.steps > renderLimits.steps) throw new LimitError(`more than ${renderLimits.steps} steps`);
    }

    *runInSlices(program: unknown): Slices<RuntimeValue> {
      return yield* this.block((program as Program).body, this.environment);
    }

    override evaluateBlock(statements: readonly Statement[], scope: Scope): RuntimeValue {
      return atOnce(this.block(statements, scope));
    }

    private *block(statements: readonly Statement[], scope: Scope): Slices<RuntimeValue> {
      let text = "";
      for (const statement of statements) {
        if (isSliceOver()) yield;
        try {
          text += this.printed(statement, yield* this.statement(statement, scope));
        } catch (error) {
          if (error instanceof LoopControl) error.text = text + error.text;
          throw error;
        }
        checkLength(text);
      }
      return this.text(text, scope);
    }

    private *statement(node: Statement, scope: Scope): Slices<RuntimeValue> {
      switch (node.type) {
        case "If": {
          this.step();
          const { test, body, alternate } = node as Condition;
          return yield* this.block(this.evaluate(test, scope).__bool__().value ? body : alternate, scope);
        }
        case "For":
          this.step();
          return yield* this.loop(node as Loop, scope);
        case "Break":
        case "Continue":
          throw new LoopControl(node.type);
        default:
          return this.evaluate(node, scope);
      }
    }

    /** Returns the text that a statement prints, and counts it. */
    private printed(statement: Statement, value: RuntimeValue): string {
      const isStatement = STATEMENTS.has(statement.type);
      const text = isText(value) ? (value.value as string) : isStatement ? "" : pythonText(value);
      if (!isStatement) spendText(text.length); // statements have counted their output themselves
      return text;
    }

    /** Runs a loop. Each loop has its own state of `loop.changed`. */
    private *loop(node: Loop, scope: Scope): Slices<RuntimeValue> {
      let text = "";
      let hasFinished = false; // whether an iteration ran to its end. If none did, the loop's `else` runs, as in Jinja2.
      this.changes.push(undefined);
      try {
        for (const inner of iterations(node, scope, this)) {
          if (inner === undefined) {
            yield;
            continue;
          }
          // Yield here too, because a body without statements never yields.
          if (isSliceOver()) yield;
          try {
            text += (yield* this.block(node.body, inner)).value as string;
            hasFinished = true;
          } catch (error) {
            if (!(error instanceof LoopControl)) throw error;
            text += error.text;
            if (error.type === "Break") break;
          }
          checkLength(text);
        }
        if (!hasFinished) text += (yield* this.block(node.defaultBlock, scope)).value as string;
      } finally {
        this.changes.pop();
      }
      return this.text(text, scope);
    }

    /**
     * Evaluates binary operators. `~` converts both sides to strings. Objects become JSON, because templates that concatenate the
     * arguments of a tool call expect it.
     */
    override evaluateBinaryExpression(node: Binary, scope: Scope): RuntimeValue {
      const { value: operator } = node.operator;
      if (operator === "*" || operator === "%") return this.timesOrFormat(node, scope);
      if (COMPARING.has(operator)) return this.comparison(node, scope);
      if (operator === "-" || operator === "/" || operator === "//") {
        const [left, right] = [node.left, node.right].map((side) =>
          known(this.numeric(this.evaluate(side, scope), scope)),
        );
        return super.evaluateBinaryExpression({ ...node, left: left!, right: right! }, scope);
      }
      if (operator !== "+" && operator !== "~") return super.evaluateBinaryExpression(node, scope);
      const sides = [this.evaluateOperand(node.left, scope), this.evaluateOperand(node.right, scope)];
      const joins = sides.some(isText);
      const [left, right] = sides.map((side): Known => {
        if (operator === "+" && !joins) return known(this.numeric(side, scope));
        if (joins && side.type === "ObjectValue")
          return known(this.text(jsonOf(side, { undefined: "undefined" }), scope));
        if (joins && operator === "+" && isArray(side))
          throw new Error(`Unknown operator "+" between a text and ${side.type}`);
        return known(operator === "~" ? this.text(pythonText(side), scope) : side);
      });
      return super.evaluateBinaryExpression({ ...node, left: left!, right: right! }, scope);
    }

    /** Returns a boolean as a number, as Python's arithmetic reads it, and other values unchanged. */
    private numeric(value: RuntimeValue, scope: Scope): RuntimeValue {
      return value.type === "BooleanValue" ? this.integer(Number(value.value), scope) : value;
    }

    /** Evaluates an operand of `+` or `~`. Only the final text of `a + b + c` is counted, because V8 does not materialize `a + b`. */
    private evaluateOperand(node: Statement, scope: Scope): RuntimeValue {
      if (!isJoining(node)) return this.evaluate(node, scope);
      this.steps++;
      const value = this.evaluateBinaryExpression(node as Binary, scope);
      if (!isText(value)) this.count(node, value);
      else checkLength(value.value as string);
      return value;
    }

    /** Compares values by Python's rules. The package uses JavaScript's `==`, and orders numbers only. */
    private comparison(node: Binary, scope: Scope): RuntimeValue {
      const { value: operator } = node.operator;
      const [left, right] = [this.evaluate(node.left, scope), this.evaluate(node.right, scope)];
      if (operator === "==" || operator === "!=")
        return this.boolean(areEqual(left, right) === (operator === "=="), scope);
      const isMember = operator === "in" || operator === "not in";
      if (isMember && isArray(right)) {
        const found = (right.value as RuntimeValue[]).some((item) => areEqual(left, item));
        return this.boolean(found === (operator === "in"), scope);
      }
      if (isMember || !((isText(left) && isText(right)) || (isArray(left) && isArray(right))))
        return super.evaluateBinaryExpression({ ...node, left: known(left), right: known(right) }, scope);
      const order = compared(left, right);
      return this.boolean(order === 0 ? operator.endsWith("=") : order < 0 === operator.startsWith("<"), scope);
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
      const isKey = node.computed && node.property.type !== "SliceExpression" && object.value instanceof Map;
      const key = isKey ? this.evaluate(node.property, scope) : undefined;
      // As in Jinja2, a missing key of any type gives undefined. The map's keys are strings, even for an object with integer keys.
      if (key && typeof key.value !== (object.isNumbered ? "number" : "string")) return this.evaluate(undefined, scope);
      const property = key ? known(this.text(String(key.value), scope)) : node.property;
      const member = { ...node, object: known(object), property } as Member;
      const value = super.evaluateMemberExpression(member, scope);
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
      const left = this.numeric(this.evaluate(node.left, scope), scope);
      const given = this.evaluate(node.right, scope);
      const right = isText(left) && node.operator.value === "%" ? given : this.numeric(given, scope);
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
        return this.text(formatted(left.value as string, right), scope);
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
  };
}

/** The interpreter's class, which is made on first use. */
let made: InterpreterClass<LimitedEvaluator> | undefined;

/** Returns the class of interpreters with limits, which is made at the first call. */
export function limitedInterpreter(): InterpreterClass<LimitedEvaluator> {
  made ??= makeInterpreter();
  return made;
}
