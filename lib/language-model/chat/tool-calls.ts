// Parses tool calls in an answer's text, in the form that templates of Hermes and Qwen use: `<tool_call>{"name": …,
// "arguments": …}</tool_call>`.
import { randomBytes } from "node:crypto";
import { TOOL_CALL } from "../../constrain/index.ts";

/** A tool call in a model's answer, as in OpenAI's API. */
export interface ToolCall {
  id: string;
  type: "function";
  /** `arguments` is a JSON string. */
  function: { name: string; arguments: string };
}

const { open: OPEN, close: CLOSE } = TOOL_CALL;
/** Maximum length of a call. The text of a longer call is released. */
const MOST_CALL = 1 << 17;

/** The decided part of an answer. */
export interface Parsed {
  text: string;
  calls: ToolCall[];
}

/**
 * Parses an answer's text incrementally. Text that may begin a call is held back until it is decided. A malformed call is text. White space
 * before a call and after the last one is dropped.
 */
export class ToolCallParser {
  private held = "";
  /** Offset from which to search for the end of the open call. The text before it has been searched. */
  private searched = 0;
  private isOpen = false;
  /** Whether the searched part of the open call ends within a JSON string, where `</tool_call>` is text. */
  private inString = false;
  /** Whether the open call is known to be invalid JSON. The next `</tool_call>` then ends it. */
  private isBroken = false;
  private space = "";
  private found = 0;
  private readonly most: number;

  /** @param most maximum number of calls. The answer ends with the last of them */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.most = most;
  }

  push(text: string): Parsed {
    this.held += text;
    const out: Parsed = { text: "", calls: [] };
    this.take(out);
    return out;
  }

  /** Whether the maximum number of calls has been reached. */
  get ended(): boolean {
    return this.found >= this.most;
  }

  /** Number of calls so far. */
  get count(): number {
    return this.found;
  }

  /** Returns the text that was held back. Call it when no text follows. An unterminated call is text. */
  flush(): Parsed {
    const out: Parsed = { text: "", calls: [] };
    // An unterminated string is not a string, so a closing mark inside it counts.
    while (!this.ended && this.isOpen && this.held.includes(CLOSE)) {
      this.breakOpen();
      this.take(out);
    }
    this.say(out, this.held);
    if (this.found === 0) out.text += this.space;
    [this.held, this.space, this.isOpen] = ["", "", false];
    return out;
  }

  private take(out: Parsed): void {
    while (!this.ended && (this.isOpen ? this.takeCall(out) : this.takeText(out)));
  }

  /** Consumes text before a call. @returns whether a call begins */
  private takeText(out: Parsed): boolean {
    const at = this.held.indexOf(OPEN);
    const end = at >= 0 ? at : this.held.length - openLength(this.held);
    this.say(out, this.held.slice(0, end));
    this.held = this.held.slice(end);
    if (at < 0) return false;
    [this.isOpen, this.inString, this.isBroken] = [true, false, false];
    this.searched = OPEN.length;
    return true;
  }

  private breakOpen(): void {
    [this.isBroken, this.searched] = [true, OPEN.length];
  }

  /** Returns the offset of the open call's end, or −1 if it has not ended. */
  private findClose(): number {
    const { held } = this;
    while (!this.isBroken && this.searched < held.length) {
      const at = this.searched;
      const character = held[at]!;
      // JSON strings contain no line breaks.
      if (this.inString && character < " ") this.breakOpen();
      else if (this.inString && character === "\\") this.searched += 2;
      else if (character === '"') [this.inString, this.searched] = [!this.inString, at + 1];
      else if (!this.inString && held.startsWith(CLOSE, at)) return at;
      else if (!this.inString && CLOSE.startsWith(held.slice(at, at + CLOSE.length))) return -1;
      else this.searched++;
    }
    if (!this.isBroken) return -1;
    const at = held.indexOf(CLOSE, this.searched);
    if (at < 0) this.searched = Math.max(OPEN.length, held.length - CLOSE.length);
    return at;
  }

  /** Consumes the open call. @returns whether it has ended */
  private takeCall(out: Parsed): boolean {
    const at = this.findClose();
    if (at < 0) {
      if (this.held.length <= MOST_CALL) return false;
      this.say(out, this.held);
      [this.held, this.isOpen] = ["", false];
      return true;
    }
    const call = callIn(this.held.slice(OPEN.length, at));
    if (call) {
      out.calls.push(call);
      this.found++;
      this.space = "";
    } else this.say(out, this.held.slice(0, at + CLOSE.length));
    this.held = this.held.slice(at + CLOSE.length);
    this.isOpen = false;
    return true;
  }

  /** Appends text. White space at the end is held back until more follows. */
  private say(out: Parsed, text: string): void {
    const whole = this.space + text;
    const end = whole.trimEnd().length;
    out.text += whole.slice(0, end);
    this.space = whole.slice(end);
  }
}

/** Returns the length of the longest suffix of a text that may begin a call. */
function openLength(text: string): number {
  for (let length = Math.min(OPEN.length - 1, text.length); length > 0; length--)
    if (text.endsWith(OPEN.slice(0, length))) return length;
  return 0;
}

/** Matches a string, a punctuation mark, or a number or name. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g;

/**
 * Returns the source text of an object's `arguments`, without white space. Parsing and printing would change numbers with many
 * digits.
 */
function writtenArguments(json: string): string | undefined {
  let found: string | undefined;
  let depth = 0;
  let [key, last] = ["", ""];
  let value: string[] | undefined;
  for (const [token] of json.matchAll(TOKENS)) {
    if (token === "}" || token === "]") depth--;
    if (depth === 0 || (depth === 1 && token === ",")) {
      if (value && key === "arguments") found = value.join("");
      value = undefined;
    } else if (value) value.push(token);
    else if (token === ":") [key, value] = [JSON.parse(last) as string, []];
    if (token === "{" || token === "[") depth++;
    last = token;
  }
  return found;
}

function callIn(text: string): ToolCall | undefined {
  try {
    const { name, arguments: given = {} } = JSON.parse(text) as { name?: unknown; arguments?: unknown };
    if (typeof name !== "string" || name === "") return undefined;
    const json = typeof given === "string" ? given : (writtenArguments(text) ?? "{}");
    return { id: `call_${randomBytes(12).toString("hex")}`, type: "function", function: { name, arguments: json } };
  } catch {
    return undefined; // invalid JSON
  }
}
