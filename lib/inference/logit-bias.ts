import { invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { isWhole } from "../core/is-whole.ts";
import type { GenerateOptions } from "./generation-options.ts";

/** Whether a value is the id of a token of a vocabulary of this size. */
export function isTokenId(id: unknown, vocabSize: number): id is number {
  return isWhole(id, 0, vocabSize - 1);
}

/**
 * Returns the ids and the values of a logit bias.
 * @throws HeddleError INVALID_ARGUMENT for an id that is not in the vocabulary, or a value that is not a number
 */
export function biasOf(bias: GenerateOptions["logitBias"], vocabSize: number) {
  if (bias === undefined) return { biasIds: new Int32Array(0), biasValues: new Float32Array(0) };
  if (!isObject(bias)) throw invalidArgument("logitBias", "an object of token ids and numbers", bias);
  const pairs: [number, number][] = [];
  for (const [key, value] of bias instanceof Map ? bias : Object.entries(bias)) {
    // Strings must be decimal numbers. Number("") would be 0.
    const id = typeof key === "number" || /^\d+$/.test(key) ? Number(key) : key;
    if (!isTokenId(id, vocabSize)) throw invalidArgument("logitBias", `token ids below ${vocabSize}`, key);
    if (typeof value !== "number" || Number.isNaN(value) || Math.fround(value) === Number.POSITIVE_INFINITY)
      throw invalidArgument(`logitBias of ${key}`, "a number", value);
    pairs.push([id, value]);
  }
  return { biasIds: Int32Array.from(pairs, (p) => p[0]), biasValues: Float32Array.from(pairs, (p) => p[1]) };
}
