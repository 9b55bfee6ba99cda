/**
 * Makes `instanceof` recognize objects of a class from any copy of the package, by a shared symbol. A program that both imports and
 * requires the package has two copies of every class.
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
