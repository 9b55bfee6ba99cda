// Reads calls that are written as JSON objects with a name and arguments.
import { JsonText } from "./json-text.ts";
import type { Reading, Source } from "./source.ts";

/** Maximum length of a function's name. */
export const MAX_NAME = 256;

/** The keys of a call's object. */
interface CallKeys {
  name: string;
  /** Keys that may hold the arguments. */
  arguments: readonly string[];
  /** Whether a call must have arguments and, if the tools are known, name one of them. Any other object is text. */
  isStrict?: boolean;
}

/**
 * Reads the arguments of the last call that began, and passes them on as they arrive. The arguments are a JSON object. If they are malformed,
 * the rest of the text up to `close`, or to the end of the answer, is passed on unchanged. `close` is consumed.
 * @returns whether the arguments are well-formed
 */
export function* jsonArguments(source: Source, close?: string): Reading<boolean> {
  const json = new JsonText();
  while (!json.isDone && !json.isBroken && (yield* source.more())) {
    source.consume((text, at) => json.read(text, at));
    source.callArguments(json.takeOutput());
  }
  if (json.isDone) return true;
  json.finish();
  source.callArguments(json.takeOutput());
  yield* source.until(close === undefined ? [] : [close], (text) => source.callArguments(text));
  return false;
}

/** Reads any JSON value, without passing it on. @returns its text without white space @throws Malformed */
function* jsonValue(source: Source): Reading<string> {
  const json = new JsonText();
  let out = "";
  while (!json.isDone && !json.isBroken && (yield* source.more())) {
    source.consume((text, at) => json.read(text, at));
    out += json.takeOutput();
  }
  if (!json.finish()) source.fail();
  return out + json.takeOutput();
}

/** Reads a JSON string. @returns its characters @throws Malformed */
function* jsonString(source: Source): Reading<string> {
  if ((yield* source.peek()) !== '"') source.fail();
  return JSON.parse(yield* jsonValue(source)) as string;
}

/**
 * Reads a call that is written as a JSON object. If its name comes before its arguments, the arguments are passed on as they arrive.
 * @param close text that ends malformed arguments
 * @returns whether the object is well-formed @throws Malformed
 */
export function* callObject(source: Source, keys: CallKeys, close?: string): Reading<boolean> {
  let name: string | undefined;
  /**
   * Arguments that cannot be passed on as they arrive: they came before the name, or they are not written as a JSON object. They are passed on
   * once they are complete and the name is known.
   */
  let early: string | undefined;
  let hasBegun = false;
  const begin = (called: string) => {
    if (called === "" || called.length > MAX_NAME) source.fail();
    if (keys.isStrict && source.tools.size > 0 && !source.tools.has(called)) source.fail();
    source.beginCall(called);
    hasBegun = true;
  };
  yield* source.expect("{");
  yield* source.space();
  let isLast = yield* source.skip("}");
  while (!isLast) {
    const key = yield* jsonString(source);
    yield* source.space();
    yield* source.expect(":");
    yield* source.space();
    if (key === keys.name && name === undefined) name = yield* jsonString(source);
    else if (keys.arguments.includes(key) && !hasBegun && early === undefined) {
      const first = yield* source.peek();
      if (first === "{" && name !== undefined) {
        begin(name);
        if (!(yield* jsonArguments(source, close))) return false;
        source.drop(true); // hold back the rest of the object: it becomes text if it is malformed
      } else early = argumentsOf(yield* jsonValue(source)) ?? source.fail();
    } else yield* jsonValue(source);
    if (early !== undefined && name !== undefined && !hasBegun) {
      begin(name);
      source.callArguments(early);
      source.drop(true);
    }
    yield* source.space();
    isLast = !(yield* source.skip(","));
    if (isLast) yield* source.expect("}");
    else yield* source.space();
  }
  if (hasBegun) return true;
  if (name === undefined || keys.isStrict) source.fail();
  begin(name);
  source.callArguments("{}");
  return true;
}

/**
 * Returns the JSON text of arguments. Some models write it inside a JSON string, which is decoded. Null means no arguments. Undefined for
 * other values.
 */
function argumentsOf(json: string): string | undefined {
  if (json.startsWith("{")) return json;
  if (json === "null") return "{}";
  return json.startsWith('"') ? (JSON.parse(json) as string) : undefined;
}

/**
 * Reads a list of calls, or a single call. @param close text that ends malformed arguments
 * @returns whether all calls are well-formed @throws Malformed
 */
export function* callList(source: Source, keys: CallKeys, close?: string): Reading<boolean> {
  const isList = yield* source.skip("[");
  yield* source.space();
  for (;;) {
    const isWellFormed = yield* callObject(source, keys, close);
    yield* source.endCall();
    if (!isWellFormed) return false;
    if (!isList) return true;
    yield* source.space();
    if (yield* source.skip("]")) return true;
    yield* source.expect(",");
    yield* source.space();
  }
}
