// Reads the decoders of tokenizer.json into the form of native/tokenizer/decode/decoder_steps.cc.
import type { NativeStep } from "../../binding/tokenizer.ts";
import type { JsonObject } from "../../io/json.ts";
import { booleanField, stringField } from "../files/tokenizer-file.ts";
import { characterField, countField, readPattern, readScheme, typeOf } from "./steps.ts";

const where = "decoder";
const mostStripped = 1 << 20;

/** Reads decoders. Native code rejects unknown types by their names. @throws HeddleError INVALID_FILE */
export function readDecoders(parts: JsonObject[]): NativeStep[] {
  return parts.map((part): NativeStep => {
    const type = typeOf(part, where);
    const text = (name: string, fallback: string) =>
      stringField({ [name]: fallback, ...part }, name, where).toWellFormed();
    const clean = () => booleanField(part, "cleanup", true, where);
    switch (type) {
      case "Replace":
        return {
          type,
          ...readPattern(part.pattern, `${where}.pattern`),
          content: stringField(part, "content", where).toWellFormed(),
        };
      case "Strip":
        return {
          type,
          content: characterField(part, "content", undefined, where),
          // The native step has no separate fields for Strip: `number` is the start count, and `maxDigits` the stop count.
          number: countField(part, "start", 0, mostStripped, where),
          maxDigits: countField(part, "stop", 0, mostStripped, where),
        };
      case "Metaspace":
        return {
          type,
          content: characterField(part, "replacement", "▁", where),
          prefix: readScheme(part, where) !== "never",
        };
      case "WordPiece":
        return { type, content: text("prefix", "##"), clean: clean() };
      case "BPEDecoder":
        return { type, content: text("suffix", "</w>") };
      case "CTC":
        return {
          type,
          pattern: text("pad_token", "<pad>"),
          content: text("word_delimiter_token", "|"),
          clean: clean(),
        };
      default:
        return { type };
    }
  });
}
