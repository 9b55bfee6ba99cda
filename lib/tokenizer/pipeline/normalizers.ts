// Reads the normalizers of tokenizer.json into the form of native/tokenizer/text/normalizer.cc.
import type { NativeStep } from "../../binding/tokenizer.ts";
import type { JsonObject } from "../../io/json.ts";
import { booleanField, invalidFile, limits, stringField } from "../files/tokenizer-file.ts";
import { readPattern, typeOf } from "./steps.ts";

const where = "normalizer";

/** Reads normalizers. Native code rejects unknown types by their names. @throws HeddleError INVALID_FILE */
export function readNormalizers(parts: JsonObject[]): NativeStep[] {
  return parts.map((part): NativeStep => {
    const type = typeOf(part, where);
    const flag = (name: string, fallback: boolean) => booleanField(part, name, fallback, where);
    switch (type) {
      case "Replace":
        return {
          type,
          ...readPattern(part.pattern, `${where}.pattern`),
          content: stringField(part, "content", where).toWellFormed(),
        };
      case "Prepend":
        return { type, content: stringField(part, "prepend", where).toWellFormed() };
      case "Strip":
        return { type, left: flag("strip_left", true), right: flag("strip_right", true) };
      case "BertNormalizer": {
        const lower = flag("lowercase", true);
        return {
          type,
          clean: flag("clean_text", true),
          chinese: flag("handle_chinese_chars", true),
          accents: part.strip_accents === null ? lower : flag("strip_accents", lower),
          lower,
        };
      }
      case "Precompiled": {
        const text = stringField(part, "precompiled_charsmap", where);
        if (text.length > limits.charsmapLength) {
          throw invalidFile(
            `${where}.precompiled_charsmap`,
            `at most ${limits.charsmapLength} characters`,
            text.length,
          );
        }
        return { type, bytes: new Uint8Array(Buffer.from(text, "base64")), longest: flag("longest", false) };
      }
      default:
        return { type };
    }
  });
}
