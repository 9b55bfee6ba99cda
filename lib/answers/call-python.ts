// Reads calls that are written as Python, and passes their arguments on as a JSON object.
import { MAX_NAME } from "./call-json.ts";
import { Malformed, type Reading, Source } from "./source.ts";

/** Maximum nesting depth of a value. */
const MAX_DEPTH = 64;
/** Maximum length of a keyword, a number or a literal. */
const MAX_WORD = 1024;
const LITERALS: Readonly<Record<string, string>> = { True: "true", False: "false", None: "null" };
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** Characters by the letter after a backslash. `escaped` reads the escapes with digits. */
const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
  "\n": "",
};
/** Number of hexadecimal digits after an escape's letter. */
const DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/**
 * Reads `name(key=value, …)`. Positional values belong to the tool's parameters in their declared order. If the arguments are malformed, the
 * rest of the text up to `close` is passed on unchanged, and `close` is consumed.
 * @param ending a suffix of the written name that is not part of the tool's name, such as `.call`. With a suffix, the tool may be unknown
 * @returns whether the arguments are well-formed @throws Malformed if the text before the arguments is malformed
 */
export function* pythonCall(
  source: Source,
  { close, ending = "" }: { close?: string; ending?: string },
): Reading<boolean> {
  const written = yield* source.word(["(", "\n", " ", "="], MAX_NAME);
  yield* source.expect("(");
  if (!/^[A-Za-z_][\w.]*$/.test(written) || !written.endsWith(ending)) source.fail();
  const name = written.slice(0, written.length - ending.length);
  if (ending === "" && source.tools.size > 0 && !source.tools.has(name)) source.fail();
  source.beginCall(name);
  try {
    yield* argumentsObject(source, Object.keys(source.tools.get(name)?.properties ?? {}));
    return true;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    yield* source.until(close === undefined ? [] : [close], (text) => source.callArguments(text));
    return false;
  }
}

/** Returns a Python literal as JSON. Undefined if the text is not one. */
export function pythonLiteral(text: string): string | undefined {
  let json = "";
  const ignored = () => {};
  const callArguments = (more: string) => {
    json += more;
  };
  const sink = {
    text: ignored,
    reasoning: ignored,
    trim: ignored,
    beginCall: ignored,
    callArguments,
    endCall: () => false,
  };
  const source = new Source(sink, new Map());
  source.push(text);
  source.end();
  try {
    // All text is there, so reading never waits.
    value(source, 0).next();
    return source.more().next().value === false ? json : undefined;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

function* argumentsObject(source: Source, names: readonly string[]): Reading {
  source.callArguments("{");
  yield* source.space();
  for (let i = 0; !(yield* source.skip(")")); i++) {
    if (i > 0) source.callArguments(",");
    const key = yield* keyword(source);
    const name = key.isKey ? key.text : (names[i] ?? source.fail());
    source.callArguments(`${JSON.stringify(name)}:`);
    if (key.isKey || key.text === "") yield* value(source, 0);
    else literal(source, key.text);
    yield* separator(source, ")");
  }
  source.callArguments("}");
}

/** Reads `key=`, or the beginning of a positional value. */
function* keyword(source: Source): Reading<{ text: string; isKey: boolean }> {
  const text = yield* letters(source);
  yield* source.space();
  // The answer ended, so it is unknown whether the text is a key or a value.
  if (!(yield* source.more())) source.fail();
  if (!/^[A-Za-z_]\w*$/.test(text) || !(yield* source.skip("="))) return { text, isKey: false };
  yield* source.space();
  return { text, isKey: true };
}

function* letters(source: Source): Reading<string> {
  let text = "";
  while (text.length < MAX_WORD && /[\w.+-]/.test(yield* source.peek())) text += source.take(1);
  return text;
}

/** Passes on a number, True, False or None. Passes on any other text too, as part of the malformed arguments. @throws Malformed */
function literal(source: Source, text: string): void {
  const json = Object.hasOwn(LITERALS, text) ? LITERALS[text]! : text;
  source.callArguments(json);
  if (json === text && !NUMBER.test(text)) source.fail();
}

/** Reads the comma before another value, unless `end` comes next. */
function* separator(source: Source, end: string): Reading {
  yield* source.space();
  if (yield* source.isNext(end)) return;
  yield* source.expect(",");
  yield* source.space();
}

function* value(source: Source, depth: number): Reading {
  if (depth > MAX_DEPTH) source.fail();
  const first = yield* source.peek();
  if (first === '"' || first === "'") yield* text(source, first);
  else if (first === "[" || first === "(") yield* list(source, first === "[" ? "]" : ")", depth);
  else if (first === "{") yield* dictionary(source, depth);
  else literal(source, yield* letters(source));
}

function* list(source: Source, end: string, depth: number): Reading {
  source.take(1);
  source.callArguments("[");
  yield* source.space();
  for (let i = 0; !(yield* source.skip(end)); i++) {
    if (i > 0) source.callArguments(",");
    yield* value(source, depth + 1);
    yield* separator(source, end);
  }
  source.callArguments("]");
}

function* dictionary(source: Source, depth: number): Reading {
  source.take(1);
  source.callArguments("{");
  yield* source.space();
  for (let i = 0; !(yield* source.skip("}")); i++) {
    if (i > 0) source.callArguments(",");
    const quote = yield* source.peek();
    if (quote !== '"' && quote !== "'") source.fail();
    yield* text(source, quote);
    yield* source.space();
    yield* source.expect(":");
    source.callArguments(":");
    yield* source.space();
    yield* value(source, depth + 1);
    yield* separator(source, "}");
  }
  source.callArguments("}");
}

/** Reads a string, and passes its characters on as they arrive. A triple-quoted string may contain line breaks. */
function* text(source: Source, quote: string): Reading {
  const isLong = yield* source.skip(quote.repeat(3));
  if (!isLong) source.take(1);
  const end = isLong ? quote.repeat(3) : quote;
  source.callArguments('"');
  while (!(yield* source.skip(end))) {
    const next = yield* source.peek();
    if (next === "" || (next === "\n" && !isLong)) source.fail();
    source.take(1);
    const character = next === "\\" ? yield* escaped(source) : next;
    source.callArguments(JSON.stringify(character).slice(1, -1));
  }
  source.callArguments('"');
}

/** Reads an escape sequence after its backslash. As in Python, an unknown sequence keeps the backslash. */
function* escaped(source: Source): Reading<string> {
  const next = yield* source.peek();
  if (next === "") source.fail();
  source.take(1);
  if (/[0-7]/.test(next)) {
    let octal = next;
    while (octal.length < 3 && /[0-7]/.test(yield* source.peek())) octal += source.take(1);
    return String.fromCodePoint(Number.parseInt(octal, 8));
  }
  const count = DIGITS[next];
  if (count === undefined) return ESCAPES[next] ?? ("\\'\"".includes(next) ? next : `\\${next}`);
  let digits = "";
  while (digits.length < count && /[\da-fA-F]/.test(yield* source.peek())) digits += source.take(1);
  const code = Number.parseInt(digits, 16);
  if (digits.length < count || code > 0x10ffff) source.fail();
  return String.fromCodePoint(code);
}
