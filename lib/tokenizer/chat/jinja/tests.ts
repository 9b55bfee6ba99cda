// Supports Jinja2's tests with an argument: `x is in y`, `n is divisibleby(3)`, `a is eq b`. The package's parser supports only tests
// without arguments, so tests with one are rewritten as operators before parsing.

export interface Token {
  type: string;
  value: string;
}

const COMPARES: Readonly<Record<string, string>> = {
  ...{ eq: "==", equalto: "==", sameas: "==", ne: "!=", lt: "<", lessthan: "<", le: "<=" },
  ...{ gt: ">", greaterthan: ">", ge: ">=" },
};
const OPPOSITE: Readonly<Record<string, string>> = {
  ...{ "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">" },
};

const isName = (token: Token | undefined, value: string) => token?.type === "Identifier" && token.value === value;
const compare = (value: string): Token => ({ type: "ComparisonBinaryOperator", value });

/** Returns the index after the argument that begins at `at`: a parenthesized expression, or one token. */
function endOfArgument(tokens: readonly Token[], at: number): number {
  if (tokens[at]?.type !== "OpenParen") return at + 1;
  for (let depth = 0; at < tokens.length; at++) {
    if (tokens[at]!.type === "OpenParen") depth++;
    if (tokens[at]!.type === "CloseParen" && --depth === 0) return at + 1;
  }
  return at;
}

/** Rewrites tests with an argument as operators. */
export function withTestsAsOperators(tokens: readonly Token[]): Token[] {
  const out: Token[] = [];
  for (let i = 0; i < tokens.length; ) {
    const negated = isName(tokens[i + 1], "not");
    const at = i + (negated ? 2 : 1);
    const isTest = isName(tokens[i], "is") && tokens[i - 1]?.type !== "Dot" && tokens[at]?.type === "Identifier";
    const name = isTest ? tokens[at]!.value : "";
    if (name === "in") {
      i++; // drop `is`: the remaining `in` or `not in` is an operator
    } else if (Object.hasOwn(COMPARES, name)) {
      out.push(compare(negated ? OPPOSITE[COMPARES[name]!]! : COMPARES[name]!));
      i = at + 1;
    } else if (name === "divisibleby") {
      const end = endOfArgument(tokens, at + 1);
      out.push({ type: "MultiplicativeBinaryOperator", value: "%" }, ...tokens.slice(at + 1, end));
      out.push(compare(negated ? "!=" : "=="), { type: "NumericLiteral", value: "0" });
      i = end;
    } else out.push(tokens[i++]!);
  }
  return out;
}
