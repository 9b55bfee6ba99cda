// Converts the pieces of an answer to the parts of an AI SDK stream, in which text, reasoning and tool calls are blocks.
import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { type CallPart, callsAround } from "../answers/parts.ts";
import type { ChatPiece } from "../language-model/index.ts";

type Block =
  | { type: "text" | "reasoning"; id: string }
  | { type: "tool"; id: string; name: string; index: number; input: string };

/** Writes the parts of one stream. At most one block is open at a time. */
export class PartWriter {
  private open: Block | undefined;
  /** Number of text and reasoning blocks so far, for their ids. */
  private count = 0;

  /** Converts the next piece of the answer to stream parts. */
  add({ reasoning, text, calls }: Pick<ChatPiece, "reasoning" | "text" | "calls">): LanguageModelV4StreamPart[] {
    const { before, after } = callsAround(calls);
    return [
      ...this.calls(before),
      ...this.delta("reasoning", reasoning),
      ...this.delta("text", text),
      ...this.calls(after),
    ];
  }

  /** Closes the open block. */
  end(): LanguageModelV4StreamPart[] {
    const { open } = this;
    this.open = undefined;
    if (!open) return [];
    const { id } = open;
    if (open.type !== "tool") return [{ type: `${open.type}-end`, id }];
    return [
      { type: "tool-input-end", id },
      { type: "tool-call", toolCallId: id, toolName: open.name, input: open.input },
    ];
  }

  private calls(calls: readonly CallPart[]): LanguageModelV4StreamPart[] {
    const parts: LanguageModelV4StreamPart[] = [];
    for (const { index, id, name, arguments: delta } of calls) {
      if (this.open?.type !== "tool" || this.open.index !== index) {
        parts.push(...this.end(), { type: "tool-input-start", id, toolName: name! });
        this.open = { type: "tool", id, name: name!, index, input: "" };
      }
      if (delta === "") continue;
      this.open.input += delta;
      parts.push({ type: "tool-input-delta", id, delta });
    }
    return parts;
  }

  private delta(type: "text" | "reasoning", delta: string): LanguageModelV4StreamPart[] {
    if (delta === "") return [];
    const parts: LanguageModelV4StreamPart[] = [];
    if (this.open?.type !== type) {
      parts.push(...this.end());
      this.open = { type, id: String(this.count++) };
      parts.push({ type: `${type}-start`, id: this.open.id });
    }
    parts.push({ type: `${type}-delta`, id: this.open.id, delta });
    return parts;
  }
}
