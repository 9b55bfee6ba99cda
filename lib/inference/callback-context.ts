import type { LogitContext } from "./generation-options.ts";

/**
 * Returns a copy of a context, to pass to a user's callback. Its `ids` are a copy too, so changes have no effect. The copy is made on first
 * access, because many functions do not read the ids.
 */
export function callbackContext<T extends LogitContext>(context: T): T {
  let ids: readonly number[] | undefined;
  return {
    ...context,
    get ids() {
      ids ??= context.ids.slice();
      return ids;
    },
  };
}

/** Returns a context with another `index`, without copying the ids. */
export function withIndex<T extends LogitContext>(context: T, index: number): T {
  const own = { index: { value: index, enumerable: true } };
  return Object.create(Object.prototype, { ...Object.getOwnPropertyDescriptors(context), ...own });
}
