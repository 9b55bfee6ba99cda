// Patterns of file names, with the rules of Python's fnmatch that Hugging Face's tools use: `*` matches slashes too.

/** Matches one character. */
type CharacterTest = (character: string) => boolean;
/** A part of a pattern: one character, or any number of them. */
type PatternPart = CharacterTest | "*";

/** Whether a path matches one of the patterns. */
export function matchesAny(path: string, patterns: readonly string[]): boolean {
  const characters = [...path];
  // A pattern that ends with a slash matches all files below that folder.
  return patterns.some((pattern) => matches(characters, partsOf(pattern.endsWith("/") ? `${pattern}*` : pattern)));
}

/**
 * Matches with backtracking, but only to the last `*`. Each `*` takes as few characters as possible. `star` is the index in `parts` of the
 * last `*`. `mark` is the index in `path` after the characters that this `*` takes. The time is at most proportional to the product of both lengths.
 */
function matches(path: readonly string[], parts: readonly PatternPart[]): boolean {
  let [at, next, star, mark] = [0, 0, -1, 0];
  while (at < path.length) {
    const part = parts[next];
    if (part === "*") {
      star = next++;
      mark = at;
    } else if (part?.(path[at]!)) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++mark;
    } else return false;
  }
  while (parts[next] === "*") next++;
  return next === parts.length;
}

/** Parses `*`, `?`, `[abc]`, `[a-z]` and `[!abc]`. A `[` without a closing `]` is a literal character. */
function partsOf(pattern: string): PatternPart[] {
  const characters = [...pattern];
  const parts: PatternPart[] = [];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!;
    if (character === "*") parts.push("*");
    else if (character === "?") parts.push(() => true);
    else {
      // A `]` directly after `[` or `[!` is a member of the set.
      const first = i + (characters[i + 1] === "!" ? 2 : 1);
      const end = character === "[" ? characters.indexOf("]", first + 1) : -1;
      if (end < 0) parts.push((other) => other === character);
      else {
        const isIn = setOf(characters.slice(first, end));
        parts.push(first === i + 1 ? isIn : (other) => !isIn(other));
        i = end;
      }
    }
  }
  return parts;
}

function setOf(members: readonly string[]): CharacterTest {
  const ranges: [from: number, to: number][] = [];
  const code = (i: number) => members[i]!.codePointAt(0)!;
  for (let i = 0; i < members.length; i++) {
    const isRange = members[i + 1] === "-" && i + 2 < members.length;
    ranges.push([code(i), code(isRange ? i + 2 : i)]);
    if (isRange) i += 2;
  }
  return (character) =>
    ranges.some(([from, to]) => from <= character.codePointAt(0)! && character.codePointAt(0)! <= to);
}
