// The normalizers of tokenizer.json that native code does not do itself.
import { compilePattern, eachMatch } from "./regex.ts";
import { booleanField, invalidFile, type JsonObject, stringField, unsupported } from "./tokenizer-file.ts";
import { Rewriter, slice, type Tracked } from "./tracked.ts";

export type Normalize = (text: Tracked) => Tracked;

/** The normalizers one after the other. Throws UNSUPPORTED for those heddle lacks. */
export function makeNormalizer(parts: JsonObject[]): Normalize {
  const steps = parts.map(makeStep);
  return (text) => steps.reduce((now, step) => step(now), text);
}

function makeStep(part: JsonObject): Normalize {
  switch (part.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = part.type;
      return (text) => unicodeForm(text, form);
    }
    case "Lowercase":
      return (text) => mapCharacters(text, (character) => character.toLowerCase());
    case "StripAccents":
      return (text) => mapCharacters(text, (character) => (/^\p{M}$/u.test(character) ? "" : character));
    case "Replace": {
      const pattern = compilePattern(part.pattern, "normalizer.pattern");
      const content = stringField(part, "content", "normalizer");
      return (text) => {
        const out = new Rewriter(text);
        for (const [begin, end] of eachMatch(pattern, text.text)) out.replace(begin, end, content);
        return out.finish();
      };
    }
    case "Prepend": {
      const prefix = stringField(part, "prepend", "normalizer");
      return (text) => {
        if (text.text === "") return text;
        const out = new Rewriter(text);
        out.replace(0, 0, prefix);
        return out.finish();
      };
    }
    case "Strip": {
      const left = booleanField(part, "strip_left", true, "normalizer");
      const right = booleanField(part, "strip_right", true, "normalizer");
      return (text) => {
        const begin = left ? /^\p{White_Space}*/u.exec(text.text)![0].length : 0;
        const end = right ? text.text.slice(begin).replace(/\p{White_Space}+$/u, "").length + begin : text.text.length;
        return slice(text, begin, end);
      };
    }
    case "ByteLevel":
      // Found in a few files beside a ByteLevel pre-tokenizer; as a normalizer it would make bytes of the text here.
      throw unsupported("normalizer", '"ByteLevel"');
    default:
      if (typeof part.type !== "string") throw invalidFile("normalizer.type", "a string", part.type);
      throw unsupported("normalizer", JSON.stringify(part.type));
  }
}

function mapCharacters(text: Tracked, map: (character: string) => string): Tracked {
  const out = new Rewriter(text);
  let at = 0;
  for (const character of text.text) {
    const mapped = map(character);
    if (mapped !== character) out.replace(at, at + character.length, mapped);
    at += character.length;
  }
  return out.finish();
}

/** A starter and what may compose with it: normalisation never reaches across the beginning of such a group. */
const group = /\P{M}?[\p{M}\u1160-\u11ff]*/gu;

function unicodeForm(text: Tracked, form: "NFC" | "NFD" | "NFKC" | "NFKD"): Tracked {
  const normalized = text.text.normalize(form);
  if (normalized === text.text) return text;
  if (!text.sources) return { text: normalized };
  const out = new Rewriter(text);
  for (const match of text.text.matchAll(group)) {
    const mapped = match[0].normalize(form);
    if (mapped !== match[0]) out.replace(match.index, match.index + match[0].length, mapped);
  }
  return out.finish();
}
