// A chat model and embeddings for LangChain that run in the process. `npm install @langchain/core` first.
import { Embeddings } from "@langchain/core/embeddings";
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import {
  assembleStructuredOutputPipeline,
  createContentParser,
} from "@langchain/core/language_models/structured_output";
import { AIMessageChunk } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { convertToOpenAITool } from "@langchain/core/utils/function_calling";
import { toJsonSchema } from "@langchain/core/utils/json_schema";

/** Roles of LangChain's messages in chat templates. */
const ROLES = { human: "user", ai: "assistant" };

/** Converts a message of LangChain to that of a chat template. */
function templateMessage(message) {
  const { id, name, args } = { id: message.tool_call_id, name: message.name, args: message.tool_calls ?? [] };
  const reasoning = message.additional_kwargs?.reasoning_content;
  return {
    role: ROLES[message.getType()] ?? message.getType(),
    content: message.text,
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(id !== undefined && { tool_call_id: id }),
    ...(name !== undefined && { name }),
    ...(args.length > 0 && {
      tool_calls: args.map((call) => ({
        id: call.id,
        type: "function",
        function: { name: call.name, arguments: call.args },
      })),
    }),
  };
}

/** Converts a choice of tools: "any" and the name of a tool are LangChain's own. */
function toolChoice(choice) {
  if (choice === "any") return "required";
  if (typeof choice !== "string" || ["auto", "none", "required"].includes(choice)) return choice;
  return { type: "function", function: { name: choice } };
}

/**
 * A chat model of LangChain. Calls take turns.
 *
 * @example
 * const chat = new HeddleChat({ model: await LanguageModel.load("./qwen3"), maxTokens: 200 });
 * const { text } = await chat.invoke("Name a city in Japan.");
 * const { tool_calls } = await chat.bindTools([weather]).invoke("Is it raining in Kyoto?");
 */
export class HeddleChat extends BaseChatModel {
  /** @param fields `model`, and options of `model.respond` that every call gets */
  constructor({ model, cache, callbacks, tags, metadata, verbose, ...options }) {
    super({ cache, callbacks, tags, metadata, verbose });
    this.model = model;
    this.options = options;
  }

  _llmType() {
    return "heddle";
  }

  /** Options of a call that are passed on, in addition to LangChain's. */
  get callKeys() {
    return [...super.callKeys, "tools", "tool_choice", "responseFormat", "maxTokens", "temperature"];
  }

  bindTools(tools, options = {}) {
    return this.withConfig({ ...options, tools: tools.map((tool) => convertToOpenAITool(tool)) });
  }

  /**
   * The answer follows the schema, which may also be one of zod. That then checks and converts the answer.
   * @param options.includeRaw whether the result is `{ raw, parsed }`, where `parsed` is null if the answer does not satisfy the schema
   */
  withStructuredOutput(schema, { includeRaw = false, name } = {}) {
    const format = { type: "json_schema", schema: toJsonSchema(schema) };
    const chat = this.withConfig({ responseFormat: format });
    return assembleStructuredOutputPipeline(chat, createContentParser(schema), includeRaw, name);
  }

  async _generate(messages, options, runManager) {
    let whole;
    for await (const chunk of this._streamResponseChunks(messages, options, runManager))
      whole = whole === undefined ? chunk : whole.concat(chunk);
    return { generations: [whole] };
  }

  async *_streamResponseChunks(messages, options, runManager) {
    const { tools, tool_choice: choice, stop, signal, responseFormat, maxTokens, temperature } = options;
    const own = { tools, toolChoice: toolChoice(choice), stop, signal, responseFormat, maxTokens, temperature };
    const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
    const reply = this.model.respond(messages.map(templateMessage), { ...this.options, ...given });
    for await (const { text, reasoning, calls } of reply) {
      const message = new AIMessageChunk({
        content: text,
        additional_kwargs: reasoning === "" ? {} : { reasoning_content: reasoning },
        tool_call_chunks: calls.map(({ index, id, name, arguments: args }) => ({
          ...{ index, args, type: "tool_call_chunk" },
          ...(name !== undefined && { id, name }),
        })),
      });
      yield new ChatGenerationChunk({ text, message });
      await runManager?.handleLLMNewToken(text);
    }
    const { usage, finishReason } = await reply;
    const message = new AIMessageChunk({
      content: "",
      response_metadata: { finish_reason: finishReason },
      usage_metadata: {
        input_tokens: usage.promptTokens,
        output_tokens: usage.completionTokens,
        total_tokens: usage.promptTokens + usage.completionTokens,
      },
    });
    yield new ChatGenerationChunk({ text: "", message });
  }
}

/** Embeddings of LangChain: `new HeddleEmbeddings({ model })`. */
export class HeddleEmbeddings extends Embeddings {
  constructor({ model, ...rest }) {
    super(rest);
    this.model = model;
  }

  /** Embeds texts, with the first of these prompts that the model has. */
  async embed(texts, promptNames) {
    const prompts = this.model.config.embedding?.prompts ?? {};
    const promptName = promptNames.find((name) => Object.hasOwn(prompts, name));
    const vectors = await this.model.embed(texts, { ...(promptName !== undefined && { promptName }) });
    return vectors.map((vector) => [...vector]);
  }

  embedDocuments(texts) {
    return this.embed(texts, ["document", "passage"]);
  }

  async embedQuery(text) {
    return (await this.embed([text], ["query"]))[0];
  }
}
