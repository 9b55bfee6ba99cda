// Lets a model call the tools of an MCP server. `npm install @modelcontextprotocol/sdk` installs the client.
import type { ChatCompletion, ChatMessage, LanguageModel, RespondOptions } from "heddle";

/** The part of the SDK's `Client` that this example uses. */
export interface McpClient {
  listTools(parameters?: { cursor?: string }): Promise<{
    tools: { name: string; description?: string | undefined; inputSchema: object }[];
    nextCursor?: string | undefined;
  }>;
  callTool(call: { name: string; arguments?: Record<string, unknown> }): Promise<object>;
}

/** Returns the tools of a server in the form that chat templates expect. */
export async function toolsOf(client: McpClient): Promise<object[]> {
  const tools: object[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listTools(cursor === undefined ? {} : { cursor });
    for (const { name, description = "", inputSchema } of page.tools)
      tools.push({ type: "function", function: { name, description, parameters: inputSchema } });
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return tools;
}

/** Calls a tool and returns its result as text. A failure is also returned as text, so that the model can try again. */
async function resultOf(client: McpClient, name: string, json: string): Promise<string> {
  try {
    const result = await client.callTool({ name, arguments: JSON.parse(json || "{}") });
    const { content = [], isError } = result as { content?: { type: string; text?: string }[]; isError?: boolean };
    const text = content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("\n");
    return isError ? `Error: ${text}` : text;
  } catch (error) {
    return `Error: ${(error as Error).message}`;
  }
}

/**
 * Answers a conversation. Calls the server's tools until the model writes an answer without a call.
 * @param messages the conversation. The calls and their results are added to it
 * @param options.maxRounds maximum number of answers with calls. Default 8
 *
 * @example
 * const client = new Client({ name: "heddle", version: "1.0.0" });
 * await client.connect(new StdioClientTransport({ command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", "."] }));
 * const { text } = await respondWithTools(model, client, [{ role: "user", content: "Which files are here?" }]);
 */
export async function respondWithTools(
  model: LanguageModel,
  client: McpClient,
  messages: ChatMessage[],
  { maxRounds = 8, ...options }: Omit<RespondOptions, "tools" | "toolChoice"> & { maxRounds?: number } = {},
): Promise<ChatCompletion> {
  const tools = await toolsOf(client);
  for (let round = 0; ; round++) {
    // After `maxRounds` answers with calls, the model has to answer without a call.
    const toolChoice = round < maxRounds ? "auto" : "none";
    const answer = await model.respond(messages, { ...options, tools, toolChoice });
    const { text, reasoning, toolCalls = [] } = answer;
    messages.push({
      role: "assistant",
      content: text,
      // Templates of reasoning models show earlier reasoning between calls.
      ...(reasoning !== undefined && { reasoning_content: reasoning }),
      ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    });
    if (toolCalls.length === 0) return answer;
    for (const { id, function: called } of toolCalls) {
      const content = await resultOf(client, called.name, called.arguments);
      messages.push({ role: "tool", tool_call_id: id, content });
    }
  }
}
