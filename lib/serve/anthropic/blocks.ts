// Formats answers as content blocks of Anthropic's API, whole and as events.

import { type CallPart, callsAround } from "../../answers/parts.ts";
import type { Answer, Delta } from "../core/answer.ts";
import { argumentsObject } from "../core/arguments.ts";

type Kind = "thinking" | "text" | "tool_use";

/** Returns the blocks of a complete answer. */
export function blocksOf({ text, reasoning, calls }: Answer): object[] {
  return [
    ...(reasoning === "" ? [] : [{ type: "thinking", thinking: reasoning, signature: "" }]),
    ...(text === "" ? [] : [{ type: "text", text }]),
    ...calls.map(({ id, name, arguments: given }) => ({ type: "tool_use", id, name, input: argumentsObject(given) })),
  ];
}

/** Returns the stop reason in Anthropic's terms, and the stop text that ended the answer, if any. */
export function stopOf({ finishReason, stopText, calls }: Pick<Answer, "finishReason" | "stopText" | "calls">): {
  stop_reason: string;
  stop_sequence: string | null;
} {
  const by = (reason: string) => ({ stop_reason: reason, stop_sequence: null });
  // A call of the function that the request names has the reason "stop" in the core, as in OpenAI's API.
  if (calls.length > 0 && finishReason !== "length") return by("tool_use");
  if (stopText !== undefined) return { stop_reason: "stop_sequence", stop_sequence: stopText };
  return by(finishReason === "length" ? "max_tokens" : "end_turn");
}

/** Writes the events of an answer's content blocks. One block is open at a time. */
export class BlockEvents {
  private index = -1;
  private open: { kind: Kind; call?: number } | undefined;

  /** Returns the events of the next part of the answer. */
  more({ text, reasoning, calls }: Delta): object[] {
    const events: object[] = [];
    const { before, after } = callsAround(calls);
    this.addCalls(events, before);
    if (reasoning !== "") {
      this.begin(events, "thinking", { thinking: "", signature: "" });
      events.push(this.delta({ type: "thinking_delta", thinking: reasoning }));
    }
    if (text !== "") {
      this.begin(events, "text", { text: "" });
      events.push(this.delta({ type: "text_delta", text }));
    }
    this.addCalls(events, after);
    return events;
  }

  private addCalls(events: object[], calls: readonly CallPart[]): void {
    for (const { index, id, name, arguments: json } of calls) {
      this.begin(events, "tool_use", { id, name, input: {} }, index);
      if (json !== "") events.push(this.delta({ type: "input_json_delta", partial_json: json }));
    }
  }

  /** Returns the events that end the open block. */
  end(): object[] {
    if (!this.open) return [];
    const { kind } = this.open;
    this.open = undefined;
    return [
      // Clients keep a thinking block only if it has a signature, which may be empty.
      ...(kind === "thinking" ? [this.delta({ type: "signature_delta", signature: "" })] : []),
      { type: "content_block_stop", index: this.index },
    ];
  }

  private begin(events: object[], kind: Kind, block: object, call?: number): void {
    if (this.open?.kind === kind && this.open.call === call) return;
    events.push(...this.end());
    this.open = { kind, ...(call !== undefined && { call }) };
    this.index++;
    events.push({ type: "content_block_start", index: this.index, content_block: { type: kind, ...block } });
  }

  private delta(delta: object): object {
    return { type: "content_block_delta", index: this.index, delta };
  }
}
