// The decoders of tokenizer.json, for combinations that native code does not do itself.
import { namedBytes } from "./byte-alphabet.ts";
import { compilePattern, eachMatch } from "./regex.ts";
import { invalidFile, isObject, type JsonObject, stringField, unsupported } from "./tokenizer-file.ts";
import { Rewriter } from "./tracked.ts";

/** From the tokens' texts to the text of all. */
export type DecodeTokens = (tokens: string[]) => string;

/** The decoders one after the other; without any, tokens are joined by spaces, as Hugging Face does. */
export function makeDecoder(parts: JsonObject[]): DecodeTokens {
  if (parts.length === 0) return (tokens) => tokens.join(" ");
  const steps = parts.map(makeStep);
  return (tokens) => steps.reduce((now, step) => step(now), tokens).join("");
}

function makeStep(part: JsonObject): (tokens: string[]) => string[] {
  switch (part.type) {
    case "ByteLevel":
      return (tokens) => {
        const bytes = Buffer.concat(tokens.map((token) => namedBytes(token) ?? Buffer.from(token)));
        return [bytes.toString()];
      };
    case "Replace": {
      const pattern = compilePattern(part.pattern, "decoder.pattern");
      const content = stringField(part, "content", "decoder");
      return (tokens) =>
        tokens.map((text) => {
          const out = new Rewriter({ text });
          for (const [begin, end] of eachMatch(pattern, text)) out.replace(begin, end, content);
          return out.finish().text;
        });
    }
    case "ByteFallback":
      return byteFallback;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Strip": {
      const content = stringField(part, "content", "decoder");
      const [start, stop] = [part.start ?? 0, part.stop ?? 0];
      if (typeof start !== "number" || typeof stop !== "number") {
        throw invalidFile("decoder.start and .stop", "numbers", isObject(part) ? part.start : part);
      }
      return (tokens) => tokens.map((token) => strip([...token], content, start, stop));
    }
    case "Metaspace": {
      const mark = typeof part.replacement === "string" && part.replacement !== "" ? part.replacement : "▁";
      const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
      return (tokens) =>
        tokens.map((token, index) => token.replaceAll(mark, index === 0 && scheme !== "never" ? "" : " "));
    }
    default:
      if (typeof part.type !== "string") throw invalidFile("decoder.type", "a string", part.type);
      throw unsupported("decoder", JSON.stringify(part.type));
  }
}

function strip(characters: string[], content: string, start: number, stop: number): string {
  let begin = 0;
  while (begin < start && characters[begin] === content) begin++;
  let end = characters.length;
  while (end > begin && characters.length - end < stop && characters[end - 1] === content) end--;
  return characters.slice(begin, end).join("");
}

/** Runs of <0xAB> tokens become their text where they are well-formed as a whole, else one U+FFFD each. */
function byteFallback(tokens: string[]): string[] {
  const out: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      out.push(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)));
    } catch {
      for (const _ of bytes) out.push("\ufffd");
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9a-fA-F]{2})>$/u.exec(token);
    if (byte) {
      bytes.push(Number.parseInt(byte[1]!, 16));
      continue;
    }
    flush();
    out.push(token);
  }
  flush();
  return out;
}
