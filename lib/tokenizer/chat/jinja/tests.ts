// Jinja2 tests, such as `x is in y`, `n is not divisibleby(3)` and `a is eq b.c`. The package's parser knows only tests without arguments,
// which bind looser than filters. In Jinja2 tests and filters have the same precedence, so tests are rewritten as filters before parsing.

/** A token of a template's source. */
export interface Token {
  type: string;
  value: string;
}

/** Prefixes of the names of filters that stand for tests. No filter of a template has a name with a space. */
const IS = "is ";
const IS_NOT = "is not ";

/** Returns the test that a filter's name stands for; undefined if it is a filter. */
export function testOf(filter: string): { name: string; negated: boolean } | undefined {
  if (filter.startsWith(IS_NOT)) return { name: filter.slice(IS_NOT.length), negated: true };
  return filter.startsWith(IS) ? { name: filter.slice(IS.length), negated: false } : undefined;
}

/** Types of tokens that begin an argument without parentheses. */
const BEGINNINGS = new Set([
  ...["Identifier", "StringLiteral", "NumericLiteral"],
  ...["OpenSquareBracket", "OpenCurlyBracket"],
]);
/** Names that never begin an argument without parentheses. */
const KEYWORDS = new Set(["else", "or", "and", "if", "in", "not", "is"]);
const CLOSINGS: Readonly<Record<string, string>> = {
  OpenParen: "CloseParen",
  OpenSquareBracket: "CloseSquareBracket",
  OpenCurlyBracket: "CloseCurlyBracket",
};

const isName = (token: Token | undefined, value: string) => token?.type === "Identifier" && token.value === value;

/** Returns the index after the bracket that closes the one at `at`. */
function endOfBrackets(tokens: readonly Token[], at: number): number {
  const open = tokens[at]!.type;
  const close = CLOSINGS[open];
  for (let depth = 0; at < tokens.length; at++) {
    if (tokens[at]!.type === open) depth++;
    if (tokens[at]!.type === close && --depth === 0) return at + 1;
  }
  return at;
}

/**
 * Returns the index after the argument without parentheses that begins at `at`: a name, a literal, or members and calls of them.
 * Returns `at` if no argument begins there.
 */
function endOfArgument(tokens: readonly Token[], at: number): number {
  const first = tokens[at];
  if (!first || !BEGINNINGS.has(first.type)) return at;
  if (first.type === "Identifier" && KEYWORDS.has(first.value)) return at;
  let end = first.type in CLOSINGS ? endOfBrackets(tokens, at) : at + 1;
  if (first.type === "StringLiteral") while (tokens[end]?.type === "StringLiteral") end++;
  for (;;) {
    const type = tokens[end]?.type;
    if (type === "Dot") end += 2;
    else if (type === "OpenParen" || type === "OpenSquareBracket") end = endOfBrackets(tokens, end);
    else return Math.min(end, tokens.length);
  }
}

/** Rewrites tests as filters. */
export function withTestsAsFilters(tokens: readonly Token[]): Token[] {
  const out: Token[] = [];
  for (let i = 0; i < tokens.length; ) {
    const negated = isName(tokens[i + 1], "not");
    const at = i + (negated ? 2 : 1);
    const isTest = isName(tokens[i], "is") && tokens[i - 1]?.type !== "Dot" && tokens[at]?.type === "Identifier";
    if (!isTest) {
      out.push(tokens[i++]!);
      continue;
    }
    const name = (negated ? IS_NOT : IS) + tokens[at]!.value;
    out.push({ type: "Pipe", value: "|" }, { type: "Identifier", value: name });
    const end = endOfArgument(tokens, at + 1);
    if (end > at + 1) {
      const argument = withTestsAsFilters(tokens.slice(at + 1, end));
      out.push({ type: "OpenParen", value: "(" }, ...argument, { type: "CloseParen", value: ")" });
    }
    i = end;
  }
  return out;
}
