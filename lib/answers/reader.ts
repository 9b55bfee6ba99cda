// Splits an answer into text, reasoning and tool calls while it is written.
import { randomBytes, randomInt } from "node:crypto";
import { type CallFormat, type ReasoningFormat, textsOf, type WholeFormat } from "./format.ts";
import type { AnswerParser, AnswerPart } from "./parts.ts";
import { Malformed, type Reading, type Sink, Source } from "./source.ts";
import type { ReadTool } from "./tools.ts";

/** Where the prompt ends: within reasoning, after reasoning, or before any reasoning. */
export type PromptEnd = "within" | "after" | "before";

/** How an answer is read. */
export interface ReaderOptions {
  calls?: CallFormat | undefined;
  reasoning?: ReasoningFormat | undefined;
  /** A format of the whole answer, instead of `calls` and `reasoning`. */
  whole?: WholeFormat | undefined;
  /** With `whole`: whether to read tool calls. Otherwise they are text. Default true. */
  withCalls?: boolean;
  /** Default: before. */
  promptEnd?: PromptEnd;
  tools?: ReadonlyMap<string, ReadTool>;
  /** Maximum number of calls. The answer ends with the last of them. */
  maxCalls?: number | undefined;
  /** Whether the answer is either calls or JSON. If it does not begin with a call, strings that look like calls are text. Default false. */
  isCallOrJson?: boolean | undefined;
}

/**
 * Reads an answer. Text that may begin a call is held back until it is known to be a call or not. A call that is malformed before its arguments
 * begin is text. A call with malformed arguments stays a call, and its arguments are passed on as written. Drops white space around
 * reasoning, inside the tags around the answer, before a call and after the last call.
 */
export class AnswerReader implements AnswerParser, Sink {
  private readonly source: Source;
  private readonly reading: Reading;
  private readonly maxCalls: number;
  private readonly idLength: number | undefined;
  private part = emptyPart();
  private id = "";
  private callsBegun = 0;
  private callsEnded = 0;
  /** White space at the end of the text. It is dropped before a call, before a tag that closes the answer, and after the last call. */
  private space = "";
  /** White space at the end of the reasoning. It is dropped unless more reasoning follows. */
  private reasoningSpace = "";
  private hasReasoning = false;

  constructor(options: ReaderOptions) {
    const { tools = new Map(), maxCalls = Number.POSITIVE_INFINITY, calls } = options;
    this.maxCalls = maxCalls;
    this.idLength = calls?.idLength;
    this.source = new Source(this, tools);
    this.reading = answer(this.source, options);
  }

  push(text: string): AnswerPart {
    if (this.ended) return emptyPart();
    this.source.push(text);
    this.reading.next();
    return this.takePart();
  }

  flush(): AnswerPart {
    if (this.ended) return emptyPart();
    this.source.end();
    this.reading.next();
    if (this.callsBegun === 0) this.part.text += this.space;
    this.space = "";
    return this.takePart();
  }

  get ended(): boolean {
    return this.callsEnded >= this.maxCalls;
  }

  get count(): number {
    return this.callsBegun;
  }

  private takePart(): AnswerPart {
    const { part } = this;
    this.part = emptyPart();
    return part;
  }

  /** @internal */
  text(text: string): void {
    const end = text.trimEnd().length;
    if (end === 0) {
      this.space += text;
      return;
    }
    this.part.text += this.space + text.slice(0, end);
    this.space = text.slice(end);
  }

  /** @internal */
  reasoning(text: string): void {
    const more = this.hasReasoning ? text : text.trimStart();
    const end = more.trimEnd().length;
    if (end === 0) {
      if (this.hasReasoning) this.reasoningSpace += more;
      return;
    }
    this.hasReasoning = true;
    this.part.reasoning += this.reasoningSpace + more.slice(0, end);
    this.reasoningSpace = more.slice(end);
  }

  /** @internal */
  trim(): void {
    this.space = "";
  }

  /** @internal */
  beginCall(name: string): void {
    this.space = "";
    this.id = this.idLength === undefined ? `call_${randomBytes(12).toString("hex")}` : shortId(this.idLength);
    this.part.calls.push({ index: this.callsBegun++, id: this.id, name, arguments: "" });
  }

  /** @internal */
  callArguments(text: string): void {
    const index = this.callsBegun - 1;
    const last = this.part.calls.at(-1);
    if (last?.index === index) last.arguments += text;
    else this.part.calls.push({ index, id: this.id, arguments: text });
  }

  /** @internal */
  endCall(): boolean {
    this.callsEnded++;
    return this.ended;
  }
}

const emptyPart = (): AnswerPart => ({ text: "", reasoning: "", calls: [] });

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

function shortId(length: number): string {
  return Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]!).join("");
}

function* answer(
  source: Source,
  { calls, reasoning, whole, withCalls = true, promptEnd = "before", isCallOrJson = false }: ReaderOptions,
): Reading {
  if (whole) {
    yield* whole.readAnswer(source, withCalls);
    return;
  }
  const closes = reasoning ? yield* readReasoning(source, reasoning, promptEnd) : [];
  let mayCall = true;
  if (calls?.isBare) {
    source.hold();
    const isCall = yield* attempt(source, bareCall(source, calls), calls);
    if (isCallOrJson) mayCall = isCall;
  } else if (isCallOrJson) mayCall = yield* source.isNextOf(calls?.opens ?? []);
  const marks = [...((mayCall && calls?.opens) || []), ...closes];
  for (;;) {
    const mark = yield* source.until(marks, (text) => source.text(text));
    if (mark === undefined) return;
    if (closes.includes(mark)) {
      source.trim();
      yield* source.space();
      continue;
    }
    source.hold(mark);
    yield* attempt(source, calls!.read(source, mark), calls!);
  }
}

function* bareCall(source: Source, calls: CallFormat): Reading {
  yield* source.space();
  yield* calls.read(source, "");
}

/** Reads calls. If they are malformed, their held-back text becomes text of the answer. @returns whether they are well-formed */
function* attempt(source: Source, reading: Reading, format: CallFormat): Reading<boolean> {
  source.attempt();
  try {
    yield* reading;
    source.drop();
    return true;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    source.giveUp(textsOf(format));
    return false;
  }
}

/** Reads the reasoning at the beginning of an answer, if any. @returns the tags that close the answer; empty if no tag opened it */
function* readReasoning(
  source: Source,
  { open, close, answer }: ReasoningFormat,
  promptEnd: PromptEnd,
): Reading<readonly string[]> {
  let isWithin = promptEnd === "within";
  source.hold();
  yield* unlessTooLong(source.space());
  // A prompt that opens the reasoning may be followed by an answer that opens it again.
  if (promptEnd !== "after" && (yield* unlessTooLong(source.skip(open)))) isWithin = true;
  if (isWithin) {
    source.drop();
    yield* source.until([close], (text) => source.reasoning(text));
    yield* source.space();
  }
  const isWrapped = answer !== undefined && (yield* unlessTooLong(source.skipAny(answer.opens))) !== undefined;
  if (!isWithin && !isWrapped) source.release();
  source.drop();
  if (!isWrapped) return [];
  yield* source.space();
  return answer.closes;
}

/** Runs `reading`. @returns its result, or undefined if it would hold back too much text. That text then belongs to the answer */
function* unlessTooLong<T>(reading: Reading<T>): Reading<T | undefined> {
  try {
    return yield* reading;
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return undefined;
  }
}
