// Padding, by the rules of Hugging Face's tokenizers library.
import { checkObject, invalidArgument } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { isWhole, wholeRange } from "../core/is-whole.ts";
import { checkWhole } from "../core/option-values.ts";
import type { JsonObject } from "../io/json.ts";
import { invalidFile, limits } from "./files/tokenizer-file.ts";
import { choiceField, keyOf, oneOf, sides, wholeField } from "./truncation.ts";

/** How the inputs of a batch are padded to a common length. */
export interface Padding {
  /** The common length: that of the longest input, or a minimum length. Default "longest". */
  to?: "longest" | number | undefined;
  /** Rounds the length up to a multiple of this number. Tensor cores are faster for multiples of 8. */
  multipleOf?: number | undefined;
  /** The side to pad. Default "right". Generation from a batch needs "left". */
  side?: "right" | "left" | undefined;
  /** Id to pad `ids` with. Default: the tokenizer's padTokenId. */
  id?: number | undefined;
  /** Value to pad `typeIds` with. Default 0. */
  typeId?: number | undefined;
}

const maxLength = 1 << 24;

/** Checks padding, and returns it. @throws HeddleError INVALID_ARGUMENT */
export function checkPadding(value: Padding, name = "padding"): Padding {
  checkObject(name, value);
  const { to = "longest", multipleOf = 1, side, id = 0, typeId = 0 } = value;
  if (to !== "longest" && !isWhole(to, 0, maxLength)) {
    throw invalidArgument(`${name}.to`, `"longest" or ${wholeRange(0, maxLength)}`, to);
  }
  checkWhole(`${name}.multipleOf`, multipleOf, 1, maxLength);
  oneOf(`${name}.side`, side, Object.values(sides));
  checkWhole(`${name}.id`, id, 0, limits.tokens - 1);
  checkWhole(`${name}.typeId`, typeId, 0, limits.tokens - 1);
  return value;
}

/** Reads the `padding` of a tokenizer.json; undefined if it has none. @throws HeddleError INVALID_FILE */
export function readPadding(json: JsonObject | null): Padding | undefined {
  if (json === null) return undefined;
  const strategy = json.strategy ?? "BatchLongest";
  const fixed = isObject(strategy) ? strategy.Fixed : undefined;
  if (strategy !== "BatchLongest" && !isWhole(fixed, 0, maxLength)) {
    throw invalidFile("padding.strategy", `"BatchLongest" or { Fixed: a whole number }`, fixed ?? strategy);
  }
  const multipleOf = wholeField(json, "padding", "pad_to_multiple_of", 0);
  return {
    to: strategy === "BatchLongest" ? "longest" : (fixed as number),
    ...(multipleOf > 0 && { multipleOf: Math.min(multipleOf, maxLength) }),
    side: choiceField(json, "padding", "direction", sides, "Right"),
    id: wholeField(json, "padding", "pad_id", 0),
    typeId: wholeField(json, "padding", "pad_type_id", 0),
  };
}

/** Converts padding to the form of tokenizer.json. @param padTokenId the id to use if the padding has none */
export function paddingToJson(
  padding: Padding | undefined,
  padTokenId: number | undefined,
  tokenOf: (id: number) => string | undefined,
): JsonObject | null {
  if (!padding) return null;
  const { to = "longest", multipleOf, side = "right", id = padTokenId ?? 0, typeId = 0 } = padding;
  return {
    strategy: to === "longest" ? "BatchLongest" : { Fixed: to },
    direction: keyOf(sides, side),
    pad_to_multiple_of: multipleOf ?? null,
    pad_id: id,
    pad_type_id: typeId,
    pad_token: tokenOf(id) ?? "[PAD]",
  };
}

/** Returns the length to pad to. Longer inputs stay unchanged. */
export function paddedLength(lengths: readonly number[], { to = "longest", multipleOf = 1 }: Padding): number {
  const length = to === "longest" ? lengths.reduce((most, one) => Math.max(most, one), 0) : to;
  return Math.ceil(length / multipleOf) * multipleOf;
}

/** Pads `values` with `value` up to `length`, on the given side. */
export function padTo<T extends Uint32Array | Uint8Array>(values: T, value: number, length: number, side: string): T {
  if (values.length >= length) return values;
  const padded = new (values.constructor as new (length: number) => T)(length);
  const front = side === "left" ? length - values.length : 0;
  padded.fill(value);
  padded.set(values, front);
  return padded;
}
