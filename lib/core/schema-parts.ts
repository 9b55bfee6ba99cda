// Schema parts that several schemas share, so that their error messages are worded alike.
import { z } from "zod";

export const flag = z.boolean({ error: "true or false" });

export const whole = (least: number, most: number) =>
  z.custom<number>(
    (v) => Number.isSafeInteger(v) && (v as number) >= least && (v as number) <= most,
    `a whole number from ${least} to ${most}`,
  );

export const real = (least: number, most: number) =>
  z.custom<number>((v) => typeof v === "number" && v >= least && v <= most, `a number from ${least} to ${most}`);

export const positive = (most: number) =>
  z.custom<number>((v) => typeof v === "number" && v > 0 && v <= most, `a number above 0 and at most ${most}`);
