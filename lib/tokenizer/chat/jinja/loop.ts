// The iterations of a template's loop, as in Jinja2.
import { type Identifier, jinja, type Literal, type Loop, type Scope, type Select } from "./jinja.ts";
import { giveBack, isSliceOver, sizes, spend } from "./limits.ts";
import type { RuntimeValue } from "./repr.ts";
import { isArray, type ValueEvaluator } from "./value-interpreter.ts";

/** Bytes of memory that a loop needs per iteration. */
const ITERATION_BYTES = 128;

/**
 * Thrown by `break` and `continue`. The interpreter package does not export its own classes for this, and they lose the text that the loop
 * has printed.
 */
export class LoopControl extends Error {
  readonly type: "Break" | "Continue";
  /** The iteration's text so far. */
  text = "";

  constructor(type: "Break" | "Continue") {
    super(`${type.toLowerCase()} outside of a loop`);
    this.type = type;
  }
}

/**
 * Sets the variables of each iteration in turn, and yields their scope. While it evaluates the loop's condition for all items, it yields
 * undefined if the caller should pause. Texts and undefined values can be iterated too.
 */
export function* iterations(loop: Loop, outer: Scope, evaluator: ValueEvaluator): Generator<Scope | undefined, void> {
  const { Environment } = jinja();
  const scope = new Environment(outer);
  const select = loop.iterable.type === "SelectExpression" ? (loop.iterable as Select) : undefined;
  const value = evaluator.evaluate(select?.lhs ?? loop.iterable, scope);
  let items = evaluator.itemsOf(value, scope);
  if (!isArray(value)) spend(sizes.element * items.length);
  const bytes = ITERATION_BYTES * items.length;
  spend(bytes);
  try {
    if (select) {
      const chosen: RuntimeValue[] = [];
      for (const item of items) {
        if (isSliceOver()) yield undefined;
        const own = new Environment(scope);
        assign(loop.loopvar, item, own, evaluator);
        if (evaluator.evaluate(select.test, own).__bool__().value) chosen.push(item);
      }
      items = chosen;
    }
    const stateAt = loopState(items, scope, evaluator);
    for (const [i, item] of items.entries()) {
      scope.setVariable("loop", stateAt(i));
      assign(loop.loopvar, item, scope, evaluator);
      yield scope;
    }
  } finally {
    giveBack(bytes);
  }
}

/**
 * Assigns an item to the loop's variables. Several variables unpack the item, which must have as many elements or characters.
 */
function assign(target: Loop["loopvar"], item: RuntimeValue, scope: Scope, evaluator: ValueEvaluator): void {
  if (target.type === "Identifier") {
    scope.setVariable((target as Identifier).value, item);
    return;
  }
  if (target.type !== "TupleLiteral") throw new Error(`Invalid loop variable(s): ${target.type}`);
  const names = (target as Literal<Identifier[]>).value;
  const parts = evaluator.itemsOf(item, scope);
  if (!isArray(item)) spend(sizes.element * parts.length);
  if (names.length !== parts.length)
    throw new Error(`Too ${names.length > parts.length ? "few" : "many"} items to unpack`);
  for (const [i, { type, value }] of names.entries()) {
    if (type !== "Identifier") throw new Error(`Cannot unpack non-identifier type: ${type}`);
    scope.setVariable(value, parts[i]!);
  }
}

/** Returns a function that makes the variable `loop` of iteration i. */
function loopState(
  items: readonly RuntimeValue[],
  scope: Scope,
  evaluator: ValueEvaluator,
): (i: number) => RuntimeValue {
  const { length } = items;
  const { integer, boolean, undefined: missing } = evaluator.values(scope);
  const [yes, no, count, none] = [boolean(true), boolean(false), integer(length), missing()];
  return (i) =>
    Object.assign(evaluator.object(scope), {
      value: new Map<string, RuntimeValue>([
        ["index", integer(i + 1)],
        ["index0", integer(i)],
        ["revindex", integer(length - i)],
        ["revindex0", integer(length - i - 1)],
        ["first", i === 0 ? yes : no],
        ["last", i === length - 1 ? yes : no],
        ["length", count],
        ["previtem", items[i - 1] ?? none],
        ["nextitem", items[i + 1] ?? none],
      ]),
    });
}
