// Reads arguments that are written one by one, each as a key and a value, and passes them on as a JSON object.
import { type JsonType, typeOfValue } from "../core/json-type.ts";
import { isHighSurrogate } from "../core/surrogates.ts";
import { pythonLiteral } from "./call-python.ts";
import { JsonText } from "./json-text.ts";
import { MAX_HELD, type Reading, type Source } from "./source.ts";
import { type ReadTool, typesOfParameter } from "./tools.ts";

/** Writes the JSON object of a call's arguments while they are read. */
export class Parameters {
  private readonly source: Source;
  private readonly tool: ReadTool | undefined;
  /** Whether there is a line break before and after each value. These two line breaks are not part of the value. */
  private readonly isFramed: boolean;
  private count = 0;

  constructor(source: Source, name: string, isFramed: boolean) {
    this.source = source;
    this.tool = source.tools.get(name);
    this.isFramed = isFramed;
    source.callArguments("{");
  }

  /** Reads a value and `close` after it. Passes on a string as it arrives, and any other value as a whole. @throws Malformed */
  *value(key: string, close: string): Reading {
    const { source } = this;
    // A value is passed on as it is read. Marks between values are held back, because they become text if they are malformed.
    source.drop();
    source.callArguments(`${this.count++ === 0 ? "" : ","}${JSON.stringify(key)}:`);
    const types = typesOfParameter(this.tool, key);
    if (types.size === 1 && types.has("string")) yield* this.text(close);
    else {
      const [value, isWhole] = yield* this.whole(close);
      if (!isWhole) {
        source.callArguments(value.trim());
        source.fail();
      }
      source.callArguments(jsonOf(this.isFramed ? unframed(value) : value, types));
    }
    source.drop(true);
  }

  /** Ends the object. */
  end(): void {
    this.source.drop();
    this.source.callArguments("}");
  }

  /**
   * Buffers a value that is not a string. `close` inside a JSON string does not end the value. Stops at MAX_HELD characters and leaves the
   * rest unread.
   * @returns the value, and whether `close` was found
   */
  private *whole(close: string): Reading<[value: string, isWhole: boolean]> {
    const { source } = this;
    const json = new JsonText();
    let value = "";
    const reading = (text: string, at: number) => {
      const end = json.read(text.slice(0, at + MAX_HELD - value.length), at);
      value += text.slice(at, end);
      return end;
    };
    while (!json.isDone && !json.isBroken && value.length < MAX_HELD && (yield* source.more())) source.consume(reading);
    for (;;) {
      const next = yield* source.peek();
      if (next === "" || value.length === MAX_HELD) return [value, false];
      if (next === close[0]) {
        if (yield* source.skip(close)) return [value, true];
        if (source.endsWithin(close)) return [value, false];
      }
      value += source.take(1);
    }
  }

  /** Reads a string and `close` after it, and passes the string on as JSON while it arrives. */
  private *text(close: string): Reading {
    const { source, isFramed } = this;
    let isFirst = true;
    /** The last character, held back while it is a high surrogate or may be the line break before `close`. */
    let last = "";
    source.callArguments('"');
    const pass = (piece: string) => {
      let text = last + piece;
      if (isFramed && isFirst && text.startsWith("\n")) text = text.slice(1);
      isFirst = false;
      last = (isFramed && text.endsWith("\n")) || isHighSurrogate(text.charCodeAt(text.length - 1)) ? text.at(-1)! : "";
      source.callArguments(JSON.stringify(text.slice(0, text.length - last.length)).slice(1, -1));
    };
    const end = yield* source.until([close], pass, true);
    if (last !== "" && !(isFramed && last === "\n")) source.callArguments(JSON.stringify(last).slice(1, -1));
    if (end === undefined) source.fail();
    source.callArguments('"');
  }
}

/** Removes one line break at each end. */
function unframed(value: string): string {
  return value.slice(value.startsWith("\n") ? 1 : 0, value.endsWith("\n") && value !== "\n" ? -1 : undefined);
}

/** Python's literals, which some templates write. */
const LITERALS: Readonly<Record<string, string>> = { True: "true", False: "false", None: "null" };

/** Returns the JSON text of a value. JSON of one of `types` is kept. Any other value becomes a JSON string. */
function jsonOf(value: string, types: ReadonlySet<JsonType>): string {
  const trimmed = value.trim();
  const source = Object.hasOwn(LITERALS, trimmed) ? LITERALS[trimmed]! : trimmed;
  const json = new JsonText();
  if (json.read(source, 0) === source.length && json.finish()) {
    const type = typeOfValue(JSON.parse(source));
    if (types.has(type) && type !== "string") return json.takeOutput();
    // If the value may be a string, the quotes may belong to it.
    if (type === "string" && !types.has("string")) return json.takeOutput();
  }
  // Qwen3-Coder's template prints the lists and objects of earlier calls in Python syntax, and the model may copy it.
  const python = types.has("string") ? undefined : pythonLiteral(trimmed);
  if (python !== undefined && types.has(typeOfValue(JSON.parse(python)))) return python;
  return JSON.stringify(value);
}
