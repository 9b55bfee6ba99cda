// The inputs of a filter: its arguments, and functions that create and read values.
import { pythonText, type RuntimeValue } from "./repr.ts";

/** Constructors and accessors of the interpreter's values. */
export interface Values {
  array(items: readonly RuntimeValue[]): RuntimeValue;
  tuple(items: readonly RuntimeValue[]): RuntimeValue;
  text(value: string): RuntimeValue;
  integer(value: number): RuntimeValue;
  float(value: number): RuntimeValue;
  boolean(value: boolean): RuntimeValue;
  undefined(): RuntimeValue;
  /** Returns the items over which a loop iterates. */
  items(value: RuntimeValue): RuntimeValue[];
  /** Resolves a path such as `attribute="a.0.b"` on an item; undefined if missing. */
  attribute(item: RuntimeValue, path: RuntimeValue): RuntimeValue;
  /** Returns the characters of a text, each with the guard's mark that follows it. */
  characters(text: string): string[];
  /** Returns a text without the guard's marks. */
  plain(text: string): string;
}

/** Positional and named arguments of a filter. */
export class Arguments {
  private readonly names: readonly string[];
  private readonly given: readonly RuntimeValue[];
  private readonly named: ReadonlyMap<string, RuntimeValue>;

  constructor(
    names: readonly string[],
    [given, named]: readonly [readonly RuntimeValue[], ReadonlyMap<string, RuntimeValue>],
  ) {
    this.names = names;
    this.given = given;
    this.named = named;
  }

  /** Returns the argument as given. */
  raw(name: string): RuntimeValue | undefined {
    return this.given[this.names.indexOf(name)] ?? this.named.get(name);
  }
  /** Returns the argument, or undefined if it is missing, `none` or undefined in the template. */
  get(name: string): RuntimeValue | undefined {
    const value = this.raw(name);
    return value === undefined || value.type === "NullValue" || value.type === "UndefinedValue" ? undefined : value;
  }
  number(name: string, otherwise: number): number {
    const value = this.get(name);
    if (value === undefined) return otherwise;
    if (typeof value.value !== "number") throw new Error(`${name}: expected a number, got ${value.type}`);
    return value.value;
  }
  text(name: string, otherwise: string): string {
    const value = this.get(name);
    return value === undefined ? otherwise : pythonText(value);
  }
  flag(name: string): boolean {
    return this.get(name)?.__bool__().value ?? false;
  }
}
