// Calls functions of the package with invalid arguments, and checks how the calls end.
import { Device } from "../../lib/graph/index.ts";
import { HeddleError } from "../../lib/index.ts";

export type Anything = (...args: unknown[]) => unknown;

const looked = () => {
  throw new HeddleError("INVALID_ARGUMENT", "hostile proxy: inspected");
};
const hostile = { get: looked, has: looked, ownKeys: looked, getPrototypeOf: looked, getOwnPropertyDescriptor: looked };
function detached<T extends ArrayBufferView<ArrayBuffer>>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

/** The invalid values to pass. */
export const oddities: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["3", 3],
  ["NaN", Number.NaN],
  ["3n", 3n],
  ['"x"', "x"],
  ['""', ""],
  ["{}", {}],
  ["{ x }", { x: 1 }],
  ["[]", []],
  ["[null]", [null]],
  ["a symbol", Symbol("s")],
  ["an array with a symbol", [Symbol("s")]],
  ["a detached Uint32Array", detached(Uint32Array.of(1, 2, 3))],
  ["an array with a detached Int32Array", [detached(Int32Array.of(1, 2, 3))]],
  ["a detached Float32Array", detached(Float32Array.of(1, 2, 3))],
  ["a detached Uint8Array", detached(Uint8Array.of(1, 2, 3))],
  ["a detached DataView", detached(new DataView(new ArrayBuffer(4)))],
  ["a function", () => 1],
  ["a proxy that throws", new Proxy({}, hostile)],
  ["a callable proxy that throws", new Proxy(() => {}, hostile)],
];

export const isClass = (value: unknown) =>
  typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));

/** Awaits a call's result, or the first item of an iterable. Disposes or closes the result unless it is in `kept`. */
async function settle(result: unknown, kept: ReadonlySet<unknown>): Promise<void> {
  const steps = result as Partial<AsyncGenerator<unknown> & PromiseLike<unknown>> | undefined;
  if (typeof steps?.next === "function" && typeof steps.return === "function") {
    await steps.next();
    await steps.return(undefined);
    return;
  }
  const made = (await result) as { dispose?: () => unknown; close?: (timeout: number) => unknown } | undefined;
  if (kept.has(made) || made instanceof Device) return;
  if (typeof made?.dispose === "function") await made.dispose();
  if (typeof made?.close === "function") await made.close(0);
}

/**
 * Returns undefined if a call ends with a result, or with a HeddleError other than INTERNAL. Otherwise returns the error, or a text if the
 * call takes longer than a minute.
 * @param kept results not to dispose
 */
export async function endOf(call: () => unknown, kept: ReadonlySet<unknown> = new Set()): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, 60_000, "no end within a minute");
  });
  try {
    return await Promise.race([(async () => settle(call(), kept))(), late]);
  } catch (error) {
    if (error instanceof HeddleError && error.code !== "INTERNAL") return undefined;
    return error;
  } finally {
    clearTimeout(timer);
  }
}
