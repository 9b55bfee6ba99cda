// Converts plain data to the values of the interpreter package, in slices. The package's own conversion of a
// conversation cannot yield.
import type { Slices } from "../../../core/slices.ts";
import { jinja } from "./jinja.ts";
import { isSliceOver } from "./limits.ts";
import type { RuntimeValue } from "./repr.ts";

type Make = new (value: unknown) => RuntimeValue;
type Kind = "text" | "integer" | "float" | "boolean" | "array" | "object";

/** Converts a value as the package does, in one step. */
export function runtimeOf(plain: unknown): RuntimeValue {
  return new (jinja().Environment)().set("value", plain);
}

/** The package's classes of values, which it does not export. */
let classes: Readonly<Record<Kind, Make>> | undefined;

function makeClasses(): Readonly<Record<Kind, Make>> {
  const classOf = (example: unknown) => runtimeOf(example).constructor as Make;
  return {
    text: classOf(""),
    integer: classOf(0),
    float: classOf(0.5),
    boolean: classOf(false),
    array: classOf([]),
    object: classOf({}),
  };
}

/** Converts plain data to a value for templates. It yields when the slice of the rendering is over. */
export function* templateValue(plain: unknown): Slices<RuntimeValue> {
  classes ??= makeClasses();
  if (typeof plain !== "object" || plain === null) return single(plain, classes);
  if (Array.isArray(plain)) {
    const items: RuntimeValue[] = [];
    for (const item of plain) {
      items.push(isNested(item) ? yield* templateValue(item) : single(item, classes));
      if (isSliceOver()) yield;
    }
    return new classes.array(items);
  }
  const entries = new Map<string, RuntimeValue>();
  for (const [key, item] of Object.entries(plain)) {
    entries.set(key, isNested(item) ? yield* templateValue(item) : single(item, classes));
    if (isSliceOver()) yield;
  }
  return new classes.object(entries);
}

const isNested = (value: unknown) => typeof value === "object" && value !== null;

function single(plain: unknown, { text, integer, float, boolean }: Readonly<Record<Kind, Make>>): RuntimeValue {
  switch (typeof plain) {
    case "string":
      return new text(plain);
    case "number":
      return Number.isInteger(plain) ? new integer(plain) : new float(plain);
    case "boolean":
      return new boolean(plain);
    default:
      return runtimeOf(plain);
  }
}
