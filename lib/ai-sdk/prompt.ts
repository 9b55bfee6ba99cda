// Converts prompts of the AI SDK to the messages of chat templates.
import {
  type LanguageModelV4Message,
  type LanguageModelV4Prompt,
  type LanguageModelV4ToolResultPart,
  UnsupportedFunctionalityError,
} from "@ai-sdk/provider";
import type { ChatMessage } from "../tokenizer/index.ts";

/** Converts a prompt. @throws UnsupportedFunctionalityError for files that are not text, and for unknown part types */
export function messagesOf(prompt: LanguageModelV4Prompt): ChatMessage[] {
  return prompt.flatMap(messagesFor);
}

function messagesFor(message: LanguageModelV4Message): ChatMessage[] {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }];
    case "user":
      return [{ role: "user", content: message.content.map(textOf).join("\n") }];
    case "assistant":
      return [assistantMessage(message.content)];
    case "tool":
      return message.content.flatMap((part) => (part.type === "tool-result" ? [resultMessage(part)] : []));
  }
}

type AssistantParts = Extract<LanguageModelV4Message, { role: "assistant" }>["content"];

function assistantMessage(parts: AssistantParts): ChatMessage {
  let [text, reasoning] = ["", ""];
  const calls: object[] = [];
  for (const part of parts) {
    if (part.type === "text" || part.type === "file") text += textOf(part);
    else if (part.type === "reasoning") reasoning += part.text;
    else if (part.type === "tool-call")
      calls.push({
        id: part.toolCallId,
        type: "function",
        function: { name: part.toolName, arguments: part.input ?? {} },
      });
    else throw new UnsupportedFunctionalityError({ functionality: `assistant part of type ${part.type}` });
  }
  return {
    role: "assistant",
    content: text,
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

function resultMessage({ toolCallId, toolName, output }: LanguageModelV4ToolResultPart): ChatMessage {
  return { role: "tool", tool_call_id: toolCallId, name: toolName, content: outputText(output) };
}

function outputText(output: LanguageModelV4ToolResultPart["output"]): string {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return output.reason ?? "The user denied the execution of the tool.";
    case "content":
      return output.value
        .map((part) => {
          if (part.type === "text" || part.type === "file") return textOf(part);
          throw new UnsupportedFunctionalityError({ functionality: `tool result of type ${part.type}` });
        })
        .join("\n");
  }
}

type TextOrFile =
  | { type: "text"; text: string }
  // In specification V3 `data` is the content of the file. In V4 it is an object with a type and the content.
  | { type: "file"; mediaType: string; data: unknown };

/** Returns the text of a part. Decodes text files. @throws UnsupportedFunctionalityError for other files */
function textOf(part: TextOrFile): string {
  if (part.type === "text") return part.text;
  const { data, mediaType } = part;
  const tagged = data as { type?: unknown; text?: unknown; data?: unknown };
  const isTagged = typeof data === "object" && data !== null && typeof tagged.type === "string";
  if (isTagged && tagged.type === "text" && typeof tagged.text === "string") return tagged.text;
  const bytes = isTagged && tagged.type === "data" ? tagged.data : data;
  if (/^text(\/|$)|^application\/json$/.test(mediaType)) {
    if (bytes instanceof Uint8Array) return new TextDecoder().decode(bytes);
    if (typeof bytes === "string") return Buffer.from(bytes, "base64").toString();
  }
  throw new UnsupportedFunctionalityError({ functionality: `file part with media type ${mediaType}` });
}
