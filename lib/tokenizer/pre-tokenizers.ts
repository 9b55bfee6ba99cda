// The pre-tokenizers of tokenizer.json, for combinations that native code does not do itself.

import { namedPatterns } from "./patterns.ts";
import { compilePattern, compileRegex, eachMatch } from "./regex.ts";
import { booleanField, invalidFile, type JsonObject, stringField, unsupported } from "./tokenizer-file.ts";
import { Rewriter, slice, type Tracked } from "./tracked.ts";

/** Cuts the text between two added tokens into pieces; `atStart`: it begins the whole text. */
export type PreTokenize = (text: Tracked, atStart: boolean) => Tracked[];

const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"] as const;
type Behavior = (typeof behaviors)[number];

/** The pre-tokenizers one inside the other. Throws UNSUPPORTED for those heddle lacks. */
export function makePreTokenizer(parts: JsonObject[]): PreTokenize {
  const steps = parts.map(makeStep);
  return (text, atStart) =>
    steps.reduce(
      (pieces, step) => pieces.flatMap((piece, index) => step(piece, atStart && index === 0)),
      [text].filter((piece) => piece.text !== ""),
    );
}

const whiteSpace = /\p{White_Space}+/gu;
const eachSpace = /\p{White_Space}/gu;
// \w as Rust's regular expressions have it.
const words =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;
// What BERT calls punctuation: Unicode's, and all of ASCII that is neither letter, digit, space nor control.
const punctuation = /[!-/:-@[-`{-~\p{P}]/gu;

function makeStep(part: JsonObject): PreTokenize {
  switch (part.type) {
    case "ByteLevel": {
      const prefix = booleanField(part, "add_prefix_space", true, "pre_tokenizer");
      const gpt2 = booleanField(part, "use_regex", true, "pre_tokenizer")
        ? compileRegex(namedPatterns.gpt2, "pre_tokenizer")
        : undefined;
      return (text) => {
        const from = prefix ? withPrefix(text, " ") : text;
        return gpt2 ? split(from, gpt2, "Isolated", false) : [from];
      };
    }
    case "Split": {
      const pattern = compilePattern(part.pattern, "pre_tokenizer.pattern");
      const behavior = readBehavior(part);
      const invert = booleanField(part, "invert", false, "pre_tokenizer");
      return (text) => split(text, pattern, behavior, invert);
    }
    case "Digits": {
      const digits = booleanField(part, "individual_digits", false, "pre_tokenizer") ? /\p{N}/gu : /\p{N}+/gu;
      return (text) => split(text, digits, "Isolated", false);
    }
    case "Punctuation": {
      const behavior = readBehavior({ ...part, behavior: part.behavior ?? "Isolated" });
      return (text) => split(text, punctuation, behavior, false);
    }
    case "Whitespace":
      return (text) => split(text, words, "Removed", true);
    case "WhitespaceSplit":
      return (text) => split(text, whiteSpace, "Removed", false);
    case "BertPreTokenizer":
      return (text) =>
        split(text, eachSpace, "Removed", false).flatMap((piece) => split(piece, punctuation, "Isolated", false));
    case "CharDelimiterSplit": {
      const delimiter = compilePattern({ String: stringField(part, "delimiter", "pre_tokenizer") }, "pre_tokenizer");
      return (text) => split(text, delimiter, "Removed", false);
    }
    case "Metaspace":
      return makeMetaspace(part);
    default:
      if (typeof part.type !== "string") throw invalidFile("pre_tokenizer.type", "a string", part.type);
      throw unsupported("pre_tokenizer", JSON.stringify(part.type));
  }
}

function readBehavior(part: JsonObject): Behavior {
  const behavior = behaviors.find((name) => name === part.behavior);
  if (!behavior) throw invalidFile("pre_tokenizer.behavior", `one of ${behaviors.join(", ")}`, part.behavior);
  return behavior;
}

function withPrefix(text: Tracked, prefix: string): Tracked {
  if (text.text.startsWith(prefix)) return text;
  const out = new Rewriter(text);
  out.replace(0, 0, prefix);
  return out.finish();
}

function makeMetaspace(part: JsonObject): PreTokenize {
  const mark = typeof part.replacement === "string" && part.replacement !== "" ? part.replacement : "▁";
  const scheme = part.prepend_scheme ?? (part.add_prefix_space === false ? "never" : "always");
  const splits = booleanField(part, "split", true, "pre_tokenizer");
  const marks = compilePattern({ String: mark }, "pre_tokenizer.replacement");
  return (text, atStart) => {
    const out = new Rewriter(text);
    for (const [begin, end] of eachMatch(/ /gu, text.text)) out.replace(begin, end, mark);
    let marked = out.finish();
    if (scheme === "always" || (scheme === "first" && atStart)) marked = withPrefix(marked, mark);
    return splits ? split(marked, marks, "MergedWithNext", false) : [marked];
  };
}

/** Cuts at the matches of a pattern; `invert` swaps the parts of matches and of what lies between. */
export function split(text: Tracked, pattern: RegExp, behavior: Behavior, invert: boolean): Tracked[] {
  const parts: { begin: number; end: number; match: boolean }[] = [];
  let at = 0;
  for (const [begin, end] of eachMatch(pattern, text.text)) {
    if (begin > at) parts.push({ begin: at, end: begin, match: invert });
    parts.push({ begin, end, match: !invert });
    at = end;
  }
  if (at < text.text.length) parts.push({ begin: at, end: text.text.length, match: invert });

  const cuts: [number, number][] = [];
  let previousMatch = false;
  let mergeNext = false;
  for (const { begin, end, match } of parts) {
    const last = cuts.at(-1);
    if (behavior === "Removed") {
      if (!match) cuts.push([begin, end]);
    } else if (behavior === "MergedWithPrevious" && match && !previousMatch && last) {
      last[1] = end;
    } else if (behavior === "MergedWithNext" && mergeNext && !match && last) {
      last[1] = end;
    } else if (behavior === "Contiguous" && match === previousMatch && last) {
      last[1] = end;
    } else {
      cuts.push([begin, end]);
    }
    mergeNext = match;
    previousMatch = match;
  }
  return cuts.map(([begin, end]) => slice(text, begin, end));
}
