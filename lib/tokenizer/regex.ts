// Patterns of tokenizer.json (Oniguruma syntax) as JavaScript regular expressions.
import { describePattern } from "./patterns.ts";
import { invalidFile, isObject, type Json, unsupported } from "./tokenizer-file.ts";

/** `{ String }` is matched as it stands, `{ Regex }` is translated. Always global and Unicode. */
export function compilePattern(pattern: Json | undefined, where: string): RegExp {
  if (isObject(pattern) && typeof pattern.String === "string") {
    if (pattern.String === "") throw invalidFile(`${where}.String`, "text", "");
    return new RegExp(pattern.String.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&"), "gu");
  }
  if (isObject(pattern) && typeof pattern.Regex === "string") return compileRegex(pattern.Regex, where);
  throw invalidFile(where, "{ String } or { Regex }", pattern);
}

/** Begin and end of every match that is not empty. */
export function* eachMatch(pattern: RegExp, text: string): Generator<[number, number]> {
  for (const match of text.matchAll(pattern)) {
    if (match[0] !== "") yield [match.index, match.index + match[0].length];
  }
}

const maxLength = 4096;
const space = "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const classes: Record<string, string> = {
  s: space,
  d: "\\p{Nd}",
  // As Oniguruma has it, some digits of Latin-1 included.
  w: "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe",
  h: "0-9a-fA-F",
};
const syntax = /^[\^$\\.*+?()[\]{}|/]$/u;

/**
 * Translates what the two syntaxes have in common, classes in Unicode's sense, and `(?i:...)` over letters.
 * Throws UNSUPPORTED, naming the pattern, for anything whose meaning would differ (possessive quantifiers, set
 * operations, anchors of lines) and for repetition inside repetition, which could run for ever on a hostile text.
 */
export function compileRegex(source: string, where: string): RegExp {
  const refuse = (what: string) => unsupported(where, `${what} in ${describePattern(source)}`);
  if (source.length > maxLength) throw invalidFile(where, `at most ${maxLength} characters`, source.length);
  const characters = [...source];
  let out = "";
  let ignoreCase = 0; // depth of groups inside (?i: ...), itself included
  const groups: { repeats: boolean; ignoresCase: boolean }[] = [{ repeats: false, ignoresCase: false }];
  let closed: { repeats: boolean } | undefined; // the group that ended just before
  let quantified = false;

  const translateEscape = (next: string | undefined, inClass: boolean, rest: () => string): string => {
    if (next === undefined) throw refuse("a trailing backslash");
    const lower = next.toLowerCase();
    if (lower in classes) {
      if (next === lower) return inClass ? classes[lower]! : `[${classes[lower]}]`;
      if (inClass) {
        if (next === "S") throw refuse("\\S in a class");
        throw refuse(`\\${next} in a class`);
      }
      return `[^${classes[lower]}]`;
    }
    if (lower === "p") return `\\${next}${rest()}`;
    if ("nrtfv".includes(next)) return `\\${next}`;
    if (next === "x" || next === "u") return `\\${next}${rest()}`;
    if (syntax.test(next)) return `\\${next}`;
    if (inClass && next === "-") return "\\-";
    if (/[a-z0-9]/iu.test(next)) throw refuse(`\\${next}`);
    return next; // an escape that means itself, such as \'
  };

  for (let i = 0; i < characters.length; i++) {
    const c = characters[i]!;
    const restOfEscape = () => {
      const rest = /^(?:\{[^{}]{1,40}\}|[0-9a-fA-F]{1,4}|[A-Z])/u.exec(characters.slice(i + 1, i + 44).join(""));
      if (!rest) throw refuse("an escape");
      i += [...rest[0]].length;
      return rest[0];
    };
    if (c === "*" || c === "+" || c === "?" || c === "{") {
      if (quantified && c === "+") throw refuse("a possessive quantifier");
      let text: string = c;
      if (c === "{") {
        const braces = /^\{\d{0,4}(?:,\d{0,4})?\}/u.exec(characters.slice(i, i + 12).join(""));
        if (!braces || braces[0] === "{}" || braces[0] === "{,}") throw refuse("{");
        text = braces[0].replace("{,", "{0,");
        i += braces[0].length - 1;
      }
      const unbounded = c !== "?" && !/^\{\d+(,\d+)?\}$/u.test(text);
      if (unbounded) {
        if (closed?.repeats) throw refuse("repetition inside repetition");
        groups.at(-1)!.repeats = true;
      }
      out += text;
      quantified = !(quantified && c === "?");
      continue;
    }
    quantified = false;
    closed = undefined;
    if (c === "\\") {
      i++;
      out += translateEscape(characters[i], false, restOfEscape);
    } else if (c === "[") {
      let body = "";
      i++;
      if (characters[i] === "^") {
        body = "^";
        i++;
      }
      for (let first = true; first || characters[i] !== "]"; first = false, i++) {
        const inside = characters[i];
        if (inside === undefined) throw refuse("an open class");
        if (inside === "[") throw refuse("a class inside a class");
        if (inside === "&" && characters[i + 1] === "&") throw refuse("&&");
        if (inside === "\\") {
          i++;
          body += translateEscape(characters[i], true, restOfEscape);
        } else if (ignoreCase > 0 && /[a-z]/iu.test(inside)) {
          if (characters[i + 1] === "-" || characters[i - 1] === "-") throw refuse("a range without case");
          body += inside.toLowerCase() + inside.toUpperCase();
        } else {
          body +=
            syntax.test(inside) && inside !== "." && inside !== "^" ? `\\${inside}` : inside === "^" ? "\\^" : inside;
        }
      }
      out += `[${body}]`;
    } else if (c === "(") {
      const head = /^\((?:\?(?::|=|!|<=|<!|>|i:|[a-z-]*[:)]?|<))?/u.exec(characters.slice(i, i + 8).join(""))![0];
      const ignoresCase = head === "(?i:";
      if (!["(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?i:"].includes(head)) throw refuse(head);
      if (groups.length > 64) throw refuse("deep nesting");
      groups.push({ repeats: false, ignoresCase });
      if (ignoresCase) ignoreCase++;
      out += ignoresCase || head === "(" ? "(?:" : head;
      i += head.length - 1;
    } else if (c === ")") {
      const group = groups.pop()!;
      if (groups.length === 0) throw refuse("an unmatched )");
      if (group.ignoresCase) ignoreCase--;
      if (group.repeats) groups.at(-1)!.repeats = true;
      closed = group;
      out += ")";
    } else if (c === "^" || c === "$") {
      throw refuse(c); // Oniguruma's match at every line
    } else if (c === ".") {
      out += "[^\\n]";
    } else if (c === "]" || c === "}") {
      out += `\\${c}`;
    } else if (ignoreCase > 0 && /[a-z]/iu.test(c)) {
      // Unicode's simple folds of ASCII letters: U+017F to s, U+212A to k.
      const also = c === "s" || c === "S" ? "\\u017f" : c === "k" || c === "K" ? "\\u212a" : "";
      out += `[${c.toLowerCase()}${c.toUpperCase()}${also}]`;
    } else if (ignoreCase > 0 && c.toLowerCase() !== c.toUpperCase()) {
      throw refuse("a letter without case beyond ASCII");
    } else {
      out += c;
    }
  }
  if (groups.length !== 1) throw refuse("an unmatched (");
  try {
    return new RegExp(out, "gu");
  } catch {
    throw refuse("its syntax");
  }
}
