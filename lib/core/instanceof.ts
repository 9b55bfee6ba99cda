/**
 * Has `instanceof` know a class's objects by a mark that all copies of the package share: in a program that both imports and requires it
 * every class is there twice.
 */
export function brand(type: { readonly prototype: object }, name: string): void {
  const mark = Symbol.for(`heddle.${name}`);
  Object.defineProperty(type.prototype, mark, { value: true });
  Object.defineProperty(type, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      // Derived classes use the default check.
      if (this !== type) return Function.prototype[Symbol.hasInstance].call(this, value);
      return typeof value === "object" && value !== null && mark in value;
    },
  });
}
