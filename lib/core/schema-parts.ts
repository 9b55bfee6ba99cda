// Schema parts that several schemas share, so that their error messages are worded alike. They are functions, because
// two training options must not share a schema object.
import { z } from "zod";
import { isWhole, wholeRange } from "./is-whole.ts";

/** Accepts a text. */
export const text = () => z.string({ error: "a text" });

/** Accepts true and false. */
export const flag = () => z.boolean({ error: "true or false" });

/** Accepts a whole number from `least` to `most`, by default of any size. */
export const whole = (least: number, most?: number) =>
  z.custom<number>((v) => isWhole(v, least, most), wholeRange(least, most));

/** Accepts a number from `least` to `most`, by default of any size. */
export const real = (least: number, most = Number.POSITIVE_INFINITY) =>
  z.custom<number>(
    (v) => typeof v === "number" && v >= least && v <= most,
    most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`,
  );

/** Whether a value is an array of at most `most` elements. */
export const isList = (value: unknown, most: number) => Array.isArray(value) && value.length <= most;

/**
 * Accepts an array of at most `most` elements. `what` names the elements in messages. `z.array` would visit all elements of an array that is
 * too long, and report each invalid element.
 */
export const list = <T>(most: number, what: string, isElement: (element: unknown) => boolean = () => true) =>
  z.custom<T[]>((v) => isList(v, most) && (v as unknown[]).every(isElement), `an array of at most ${most} ${what}`);

/** Accepts a finite number above 0 and at most `most`. */
export const positive = (most = Number.MAX_VALUE) =>
  z.custom<number>(
    (v) => typeof v === "number" && v > 0 && v <= most,
    most === Number.MAX_VALUE ? "a number above 0" : `a number above 0 and at most ${most}`,
  );
