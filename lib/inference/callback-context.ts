import type { LogitContext } from "./generation-options.ts";

/**
 * A context for one function of the caller's own, whose ids are its own too: what it does to them changes nothing. They are copied when
 * they are first asked for, since most go by their number or by none of them.
 */
export function ownContext<T extends LogitContext>(context: T): T {
  let ids: readonly number[] | undefined;
  return {
    ...context,
    get ids() {
      ids ??= context.ids.slice();
      return ids;
    },
  };
}

/** The same of another sequence's number, without asking for its ids. */
export function placed<T extends LogitContext>(context: T, index: number): T {
  const own = { index: { value: index, enumerable: true } };
  return Object.create(Object.prototype, { ...Object.getOwnPropertyDescriptors(context), ...own });
}
