// Reads the pre-tokenizers of tokenizer.json into the form of native/tokenizer/split/pre_tokenizer.cc.
import type { NativeStep } from "../../binding/tokenizer.ts";
import type { JsonObject } from "../../io/json.ts";
import { booleanField, invalidFile } from "../files/tokenizer-file.ts";
import { recognizeSplit } from "./patterns.ts";
import { characterField, countField, readPattern, readScheme, typeOf } from "./steps.ts";

const where = "pre_tokenizer";
/** The behaviors of Split, in the order of native code. */
const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
const schemes = { never: 0, always: 1, first: 2 };

function readBehavior(part: JsonObject, fallback?: string): number {
  const index = behaviors.indexOf(String(part.behavior ?? fallback));
  if (index < 0) throw invalidFile(`${where}.behavior`, `one of ${behaviors.join(", ")}`, part.behavior);
  return index;
}

/**
 * Reads pre-tokenizers. Native code rejects unknown types by their names.
 * @param mapsBytes whether ByteLevel maps bytes to characters. Otherwise the vocabulary is read as bytes
 * @throws HeddleError INVALID_FILE
 */
export function readPreTokenizers(parts: JsonObject[], mapsBytes: boolean): NativeStep[] {
  return parts.map((part): NativeStep => {
    const type = typeOf(part, where);
    const flag = (name: string, fallback: boolean) => booleanField(part, name, fallback, where);
    switch (type) {
      case "ByteLevel":
        return { type, prefix: flag("add_prefix_space", true), cuts: flag("use_regex", true), each: mapsBytes };
      case "Split": {
        const pattern = readPattern(part.pattern, `${where}.pattern`);
        const number = readBehavior(part);
        const invert = flag("invert", false);
        const stage = pattern.isRegex ? recognizeSplit(pattern.pattern, behaviors[number], invert) : undefined;
        if (!stage) return { type, ...pattern, number, invert };
        const { kind, maxDigits, contractions } = stage;
        return { type: "NativeSplit", number: kind, maxDigits, contractions };
      }
      case "Digits":
        return { type, each: flag("individual_digits", false) };
      case "Punctuation":
        return { type, number: readBehavior(part, "Isolated") };
      case "CharDelimiterSplit":
        return { type, pattern: characterField(part, "delimiter", undefined, where) };
      case "FixedLength": {
        const number = countField(part, "length", 5, 1 << 20, where);
        if (number === 0) throw invalidFile(`${where}.length`, "at least 1", number);
        return { type, number };
      }
      case "Metaspace":
        return {
          type,
          content: characterField(part, "replacement", "▁", where),
          number: schemes[readScheme(part, where)],
          each: flag("split", true),
        };
      default:
        return { type };
    }
  });
}
