// A language model of the AI SDK.
import { randomUUID } from "node:crypto";
import type {
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4GenerateResult,
  LanguageModelV4StreamPart,
  LanguageModelV4StreamResult,
  LanguageModelV4Usage,
} from "@ai-sdk/provider";
import type { ChatCompletion, ChatReply, LanguageModel } from "../language-model/index.ts";
import { respondOptions } from "./call-options.ts";
import { PartWriter } from "./part-writer.ts";
import { messagesOf } from "./prompt.ts";

/** Wraps a loaded model as an AI SDK language model. The forward passes of concurrent calls take turns. */
export function languageModelOf(model: LanguageModel, modelId: string): LanguageModelV4 {
  const start = (options: LanguageModelV4CallOptions) => {
    const { options: given, warnings } = respondOptions(model, options);
    const response = { id: `heddle-${randomUUID()}`, timestamp: new Date(), modelId };
    return { reply: model.respond(messagesOf(options.prompt), given), warnings, response };
  };
  return {
    specificationVersion: "v4",
    provider: "heddle",
    modelId,
    supportedUrls: {},
    async doGenerate(options): Promise<LanguageModelV4GenerateResult> {
      const { reply, warnings, response } = start(options);
      const completion = await reply;
      return {
        content: contentOf(completion),
        finishReason: finishReasonOf(completion),
        usage: usageOf(completion),
        warnings,
        response,
      };
    },
    async doStream(options): Promise<LanguageModelV4StreamResult> {
      const { reply, warnings, response } = start(options);
      const first: LanguageModelV4StreamPart[] = [
        { type: "stream-start", warnings },
        { type: "response-metadata", ...response },
      ];
      return { stream: streamOf(reply, first) };
    },
  };
}

/** Streams the reply with backpressure: each read pulls the next piece. Cancelling the stream ends the answer. */
function streamOf(reply: ChatReply, first: LanguageModelV4StreamPart[]): ReadableStream<LanguageModelV4StreamPart> {
  const writer = new PartWriter();
  return new ReadableStream({
    start(controller) {
      for (const part of first) controller.enqueue(part);
    },
    async pull(controller) {
      try {
        // A piece may produce no part, because text that may begin a tool call is held back.
        for (;;) {
          const { done, value } = await reply.next();
          const parts = done
            ? [...writer.end(), { type: "finish" as const, finishReason: finishReasonOf(value), usage: usageOf(value) }]
            : writer.add(value);
          for (const part of parts) controller.enqueue(part);
          if (done) controller.close();
          if (parts.length > 0) return;
        }
      } catch (error) {
        controller.enqueue({ type: "error", error });
        controller.close();
      }
    },
    async cancel() {
      await reply.return(undefined as never);
    },
  });
}

function contentOf({ text, reasoning, toolCalls = [] }: ChatCompletion): LanguageModelV4Content[] {
  return [
    ...(reasoning === undefined ? [] : [{ type: "reasoning" as const, text: reasoning }]),
    ...(text === "" ? [] : [{ type: "text" as const, text }]),
    ...toolCalls.map(({ id, function: called }) => ({
      type: "tool-call" as const,
      toolCallId: id,
      toolName: called.name,
      input: called.arguments,
    })),
  ];
}

function finishReasonOf({ finishReason: raw, toolCalls }: ChatCompletion): LanguageModelV4FinishReason {
  const unified = raw === "length" ? "length" : toolCalls?.length ? "tool-calls" : "stop";
  return { unified, raw };
}

function usageOf({ usage: { promptTokens, cachedTokens, completionTokens } }: ChatCompletion): LanguageModelV4Usage {
  return {
    inputTokens: {
      total: promptTokens,
      noCache: promptTokens - cachedTokens,
      cacheRead: cachedTokens,
      cacheWrite: undefined,
    },
    // Reasoning tokens are not counted separately.
    outputTokens: { total: completionTokens, text: undefined, reasoning: undefined },
  };
}
