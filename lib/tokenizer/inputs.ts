// Builds model inputs: the ids of one text or a pair, truncated and padded, with masks.
import { HeddleError, invalidArgument } from "../core/errors.ts";
import type { EncodeOptions } from "./encode-options.ts";
import { type Padding, paddedLength, padTo } from "./padding.ts";
import type { PairPart } from "./pipeline/post-processors.ts";
import { type Truncation, truncate } from "./truncation.ts";

/** Options of `encodeInputs`. */
export interface InputOptions extends EncodeOptions {
  /**
   * Truncation. Default: that of the tokenizer.json. true: that of the tokenizer.json, or else to the model's maximum length. false:
   * none.
   */
  truncation?: Truncation | boolean | undefined;
  /** Padding. Default: that of the tokenizer.json. true: that of the tokenizer.json, or else to the longest input. false: none. */
  padding?: Padding | boolean | undefined;
  /** Stops the call, which then throws ABORTED. */
  signal?: AbortSignal | undefined;
}

/** One input of a model. All arrays have the same length. */
export interface ModelInput {
  /** Token ids. */
  ids: Uint32Array;
  /** The token type of each id. */
  typeIds: Uint32Array;
  /** 1 for ids of the input, 0 for padding. */
  attentionMask: Uint8Array;
  /** 1 for special tokens around the texts and for padding, 0 for the texts' own ids. */
  specialTokensMask: Uint8Array;
  /**
   * The parts that were cut off, as further inputs in the order of Hugging Face's tokenizers library. If one text is cut, its other parts
   * follow, those nearest to the kept part first. If both texts of a pair are cut, all other combinations of their parts follow. The later
   * parts of the first text come first, each with every part of the second. Then comes the first part of the first text, with each later
   * part of the second. Unlike in the library, `overflowing` of these inputs is empty. Computed on first access.
   */
  overflowing: ModelInput[];
}

/** A text, or a pair of texts. */
export type InputText = string | readonly [string, string];

/** Checks an array of texts and pairs of texts. @throws HeddleError INVALID_ARGUMENT */
export function checkInputTexts(inputs: unknown): asserts inputs is readonly InputText[] {
  if (!Array.isArray(inputs)) throw invalidArgument("texts", "an array of texts or pairs of texts", inputs);
  for (const [index, input] of inputs.entries()) {
    const isPair = Array.isArray(input) && input.length === 2 && input.every((text) => typeof text === "string");
    if (typeof input !== "string" && !isPair) {
      throw invalidArgument(`texts[${index}]`, "a string or two of them", input);
    }
  }
}

/**
 * Builds an input and its overflowing parts. @param texts ids of one text or two @param parts the template: texts and special tokens in
 * order
 */
export function buildInput(
  texts: readonly Uint32Array[],
  parts: readonly PairPart[],
  truncation: Truncation | undefined,
): ModelInput {
  if (!truncation) return assemble(texts, parts);
  const around = parts.reduce((sum, part) => sum + ("ids" in part ? part.ids.length : 0), 0);
  const room = truncation.maxLength - around;
  if (room < 0) {
    const message = `truncation.maxLength: expected at least the ${around} ids around a text, got ${truncation.maxLength}`;
    throw new HeddleError("INVALID_ARGUMENT", message);
  }
  const { kept, overflowing } = truncate(texts, truncation, room);
  return withOverflow(assemble(kept, parts), () => overflowing().map((one) => assemble(one, parts)));
}

/** Adds `overflowing`, which is computed on first access. */
function withOverflow(input: ModelInput, make: () => ModelInput[]): ModelInput {
  let made: ModelInput[] | undefined;
  const get = () => {
    made ??= make();
    return made;
  };
  return Object.defineProperty(input, "overflowing", { get, enumerable: true, configurable: true });
}

function assemble(texts: readonly Uint32Array[], parts: readonly PairPart[]): ModelInput {
  const length = parts.reduce((sum, part) => sum + ("ids" in part ? part.ids.length : texts[part.text]!.length), 0);
  const input: ModelInput = {
    ids: new Uint32Array(length),
    typeIds: new Uint32Array(length),
    attentionMask: new Uint8Array(length).fill(1),
    specialTokensMask: new Uint8Array(length),
    overflowing: [],
  };
  let at = 0;
  for (const part of parts) {
    const ids = "ids" in part ? part.ids : texts[part.text]!;
    input.ids.set(ids, at);
    input.typeIds.fill(part.typeId, at, at + ids.length);
    if ("ids" in part) input.specialTokensMask.fill(1, at, at + ids.length);
    at += ids.length;
  }
  return input;
}

/** Pads all inputs to one length, including their overflowing parts. */
export function padInputs(
  inputs: readonly ModelInput[],
  padding: Padding,
  padTokenId: number | undefined,
): ModelInput[] {
  const id = padding.id ?? padTokenId;
  if (id === undefined) throw invalidArgument("padding.id", "an id, since the tokenizer has no pad token", undefined);
  const length = paddedLength(
    inputs.map((input) => input.ids.length),
    padding,
  );
  const { side = "right", typeId = 0 } = padding;
  const pad = (input: ModelInput): ModelInput => {
    const padded = {
      ids: padTo(input.ids, id, length, side),
      typeIds: padTo(input.typeIds, typeId, length, side),
      attentionMask: padTo(input.attentionMask, 0, length, side),
      specialTokensMask: padTo(input.specialTokensMask, 1, length, side),
      overflowing: [],
    };
    return withOverflow(padded, () => input.overflowing.map(pad));
  };
  return inputs.map(pad);
}
