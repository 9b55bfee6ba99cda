// Schemas of sampling parameters that several APIs share.
import { z } from "zod";
import { isList } from "../../core/schema-parts.ts";

/** Accepts a seed. */
export const seed = z.custom<number>((v) => Number.isSafeInteger(v), "a whole number between -2^53 and 2^53");

const MAX_CHARACTERS = 1000;
const isStop = (v: unknown) => typeof v === "string" && v !== "" && v.length <= MAX_CHARACTERS;
const areStops = (v: unknown, most: number) => isList(v, most) && (v as unknown[]).every(isStop);

/** Accepts an array of at most `most` stop texts. */
export const stopTexts = (most: number) =>
  z.custom<string[]>(
    (v) => areStops(v, most),
    `at most ${most} texts, not empty and of at most ${MAX_CHARACTERS} characters`,
  );

/** Accepts one stop text, or an array of at most `most`. */
export const stopTextOrTexts = (most: number) =>
  z.custom<string | string[]>(
    (v) => isStop(v) || areStops(v, most),
    `a nonempty text of at most ${MAX_CHARACTERS} characters, or an array of at most ${most} such texts`,
  );
