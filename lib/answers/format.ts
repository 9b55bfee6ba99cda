// Types that describe a format of tool calls, and a format of reasoning.
import type { Reading, Source } from "./source.ts";

/**
 * How parameters are written one by one: `before` key `between` value `after`. Strings are written without quotes and escapes, so they cannot
 * contain `close`. Other values are JSON.
 */
export interface ParameterShape {
  before: string;
  between: string;
  after: string;
  /** Text that ends a value. No value may contain it. */
  close: string;
}

/** A part of a written call: fixed text, the function's name, or its arguments. */
export type CallTemplatePart =
  | string
  | { name: "json" | "plain" }
  | { arguments: "json" }
  | { arguments: ParameterShape };

/**
 * How the calls of an answer are written. The grammar for constrained decoding is built from this shape, so `read` understands every call
 * that the grammar accepts.
 */
export interface CallShape {
  begin: string;
  call: readonly CallTemplatePart[];
  /** Text between two calls. Undefined if an answer has a single call. */
  between: string | undefined;
  end: string;
}

/** How a family's models write tool calls. */
export interface CallFormat {
  /** Whether a chat template writes calls in this format. */
  isIn(template: string): boolean;
  /** Texts that begin a call. */
  opens: readonly string[];
  /** Whether a call at the beginning of the answer may also begin without any of `opens`. */
  isBare?: boolean;
  /** Reads calls after `open`: one of `opens`, or "" if the format is bare. @throws Malformed if the text is not a call */
  read(source: Source, open: string): Reading;
  shape: CallShape;
  /** Number of letters and digits in a call's id, if the templates require a fixed length. */
  idLength?: number;
}

/** How a family's models separate reasoning from the answer. */
export interface ReasoningFormat {
  /** Whether a chat template has reasoning in this format. */
  isIn(template: string): boolean;
  open: string;
  close: string;
  /** Text that is forced when the reasoning reaches its token limit, with the white space that models write. Default: `close`. */
  closing?: string;
  /** Texts around the answer, which follows the reasoning. */
  answer?: { opens: readonly string[]; closes: readonly string[] };
}

/** Reasoning in separate messages. An answer may have several of them. */
export interface MessageReasoning {
  /** Mark between the header of a message and its content. */
  content: string;
  /** Marks that end a message. */
  ends: readonly string[];
  /** Whether a message with this header is reasoning. */
  isIn(header: string): boolean;
  /** Text that is forced when the reasoning reaches its token limit. It ends the message and begins the next one. */
  closing: string;
  /** Text that is forced if that next message is reasoning again. It ends the message and begins the answer's text. */
  closingToText: string;
}

/** A format whose marks structure the whole answer: text, reasoning and calls. */
export interface WholeFormat {
  isIn(template: string): boolean;
  /** Tokens that structure the answer. */
  marks: readonly string[];
  /** Reads an answer. @param withCalls whether calls are read as calls, and not as text */
  readAnswer(source: Source, withCalls: boolean): Reading;
  reasoning: MessageReasoning;
  /** Header of the message with the answer's text. */
  textBegin: string;
  shape: CallShape;
}

/** Returns the fixed texts of a format of calls. */
export function textsOf({ shape: { begin, call, between = "", end } }: { shape: CallShape }): string[] {
  const parts = call.flatMap((part) => {
    if (typeof part === "string") return [part];
    if (!("arguments" in part) || part.arguments === "json") return [];
    return [part.arguments.before, part.arguments.between, part.arguments.after];
  });
  return [begin, between, end, ...parts];
}

/** Matches text that may be an added token of a vocabulary, such as `<tool_call>` and `[ARGS]`. */
const MARK = /<[^<>\s]+>|\[\/?[A-Z_]+\]/g;

/** Returns the texts of a format that may be single tokens. */
export function marksOf(format: CallFormat | ReasoningFormat | WholeFormat): string[] {
  if ("marks" in format) return [...format.marks];
  if ("open" in format) return [format.open, format.close, ...Object.values(format.answer ?? {}).flat()];
  return [...new Set([...format.opens, ...textsOf(format).flatMap((text) => text.match(MARK) ?? [])])];
}
