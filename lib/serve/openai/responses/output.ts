// Builds the output items of a response from the parts of an answer, and the events of its stream.
import { type CallPart, callsAround } from "../../../answers/parts.ts";
import type { Piece } from "../../../inference/sequence.ts";
import type { Delta } from "../../core/answer.ts";
import { type Item, newId } from "./items.ts";

/** An event of a stream, without its sequence number. */
export interface ResponseEvent {
  type: string;
  [field: string]: unknown;
}

type Status = "in_progress" | "completed" | "incomplete";

/** An item that is being written. Its events contain copies of it, which later changes do not affect. */
interface Writer {
  kind: "message" | "reasoning" | "call";
  /** Returns the item as it is now. */
  item(status: Status): Item;
  open(): ResponseEvent[];
  /** Adds text. @param tokens its tokens */
  more(text: string, tokens: readonly Piece[]): ResponseEvent[];
  close(): ResponseEvent[];
}

interface OutputOptions {
  /** Formats log-probabilities of the text's tokens. Without it, the output has none. */
  logprobs?: ((tokens: readonly Piece[]) => readonly object[]) | undefined;
  /** Whether reasoning is written as a summary, which some clients show. Otherwise it is the content of its item. */
  summary: boolean;
}

/** The output of a response. */
export class Output {
  /** Number of tokens of the reasoning, including those that open it. The tokens that close it belong to the item that follows. */
  reasoningTokens = 0;
  private readonly options: OutputOptions;
  private readonly finished: Item[] = [];
  private writer: Writer | undefined;
  /** Index of the call that is being written. */
  private call: number | undefined;
  /** Tokens whose text is not final yet. */
  private held: Piece[] = [];

  constructor(options: OutputOptions) {
    this.options = options;
  }

  /** Returns the items so far. @param status status of the item that is being written */
  items(status: "completed" | "incomplete"): Item[] {
    return this.writer ? [...this.finished, this.writer.item(status)] : [...this.finished];
  }

  /** Adds the next part of the answer and returns its events. */
  more({ text, reasoning, calls, tokens }: Omit<Delta, "finishReason">): ResponseEvent[] {
    const events: ResponseEvent[] = [];
    const pieces = [...this.held, ...tokens];
    this.held = text === "" && reasoning === "" && calls.length === 0 ? pieces : [];
    const { before, after } = callsAround(calls);
    events.push(...this.addCalls(before, pieces));
    if (reasoning !== "") {
      if (text === "" && calls.length === 0) this.reasoningTokens += pieces.length;
      if (this.writer?.kind !== "reasoning")
        events.push(...this.begin((at) => reasoningWriter(at, this.options.summary)));
      events.push(...this.writer!.more(reasoning, pieces));
    }
    if (text !== "") {
      if (this.writer?.kind !== "message") events.push(...this.begin((at) => messageWriter(at, this.options.logprobs)));
      events.push(...this.writer!.more(text, pieces));
    }
    events.push(...this.addCalls(after, pieces));
    return events;
  }

  private addCalls(calls: readonly CallPart[], pieces: readonly Piece[]): ResponseEvent[] {
    const events: ResponseEvent[] = [];
    for (const { index, id, name, arguments: more } of calls) {
      if (index !== this.call || !this.writer) {
        events.push(...this.begin((at) => callWriter(at, id, name ?? "")));
        this.call = index;
      }
      if (more !== "") events.push(...this.writer!.more(more, pieces));
    }
    return events;
  }

  /** Ends the output and returns its last events. An empty answer becomes an empty message. */
  end(status: "completed" | "incomplete"): ResponseEvent[] {
    const opened =
      this.finished.length === 0 && !this.writer ? this.begin((at) => messageWriter(at, this.options.logprobs)) : [];
    return [...opened, ...this.close(status)];
  }

  private begin(make: (outputIndex: number) => Writer): ResponseEvent[] {
    const events = this.close("completed");
    const at = this.finished.length;
    this.writer = make(at);
    const item = this.writer.item("in_progress");
    const added = { type: "response.output_item.added", output_index: at, item };
    return [...events, added, ...this.writer.open()];
  }

  private close(status: "completed" | "incomplete"): ResponseEvent[] {
    const { writer } = this;
    if (!writer) return [];
    const item = writer.item(status);
    const done = { type: "response.output_item.done", output_index: this.finished.length, item };
    this.finished.push(item);
    [this.writer, this.call] = [undefined, undefined];
    return [...writer.close(), done];
  }
}

function messageWriter(outputIndex: number, logprobsOf: OutputOptions["logprobs"]): Writer {
  const id = newId("msg");
  const at = { item_id: id, output_index: outputIndex, content_index: 0 };
  let [said, isOpen] = ["", false];
  const logprobs: object[] = [];
  const part = () => ({ type: "output_text", text: said, annotations: [], logprobs: [...logprobs] });
  return {
    kind: "message",
    item: (status) => ({ id, type: "message", status, role: "assistant", content: isOpen ? [part()] : [] }),
    open() {
      isOpen = true;
      return [{ type: "response.content_part.added", ...at, part: part() }];
    },
    more(delta, tokens) {
      const own = logprobsOf?.(tokens) ?? [];
      said += delta;
      logprobs.push(...own);
      return [{ type: "response.output_text.delta", ...at, delta, logprobs: own }];
    },
    close: () => [
      { type: "response.output_text.done", ...at, text: said, logprobs: [...logprobs] },
      { type: "response.content_part.done", ...at, part: part() },
    ],
  };
}

function reasoningWriter(outputIndex: number, isSummary: boolean): Writer {
  const id = newId("rs");
  const at = { item_id: id, output_index: outputIndex, [isSummary ? "summary_index" : "content_index"]: 0 };
  const [prefix, field, name] = isSummary
    ? ["response.reasoning_summary_part", "summary", "reasoning_summary_text"]
    : ["response.content_part", "content", "reasoning_text"];
  let [thought, isOpen] = ["", false];
  const part = () => ({ type: isSummary ? "summary_text" : "reasoning_text", text: thought });
  return {
    kind: "reasoning",
    item: (status) => ({ id, type: "reasoning", status, summary: [], [field]: isOpen ? [part()] : [] }),
    open() {
      isOpen = true;
      return [{ type: `${prefix}.added`, ...at, part: part() }];
    },
    more(delta) {
      thought += delta;
      return [{ type: `response.${name}.delta`, ...at, delta }];
    },
    close: () => [
      { type: `response.${name}.done`, ...at, text: thought },
      { type: `${prefix}.done`, ...at, part: part() },
    ],
  };
}

function callWriter(outputIndex: number, callId: string, name: string): Writer {
  const id = newId("fc");
  const at = { item_id: id, output_index: outputIndex };
  let args = "";
  return {
    kind: "call",
    item: (status) => ({ id, type: "function_call", status, call_id: callId, name, arguments: args }),
    open: () => [],
    more(delta) {
      args += delta;
      return [{ type: "response.function_call_arguments.delta", ...at, delta }];
    },
    close: () => [{ type: "response.function_call_arguments.done", ...at, name, arguments: args }],
  };
}
