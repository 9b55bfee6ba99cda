import { checkObject, HeddleError, invalidArgument } from "../../core/errors.ts";
import { rejectUnknownNames } from "../../core/generation-option-names.ts";
import { DEFAULT_MAX_TOKENS, type GenerateOptions } from "../../inference/generation-options.ts";
import type { Piece } from "../../inference/sequence.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";
import type { Completion } from "../completion.ts";
import type { LanguageModel } from "../language-model.ts";
import { Reply } from "../reply.ts";
import { Session } from "../session.ts";
import {
  type ChatTemplate,
  chatTemplateNames,
  checkedMessage,
  checkedRenderer,
  conversationPrompt,
  conversationTokens,
  type Renderer,
} from "./conversation.ts";
import { type ToolCall, ToolCallParser } from "./tool-calls.ts";
import { checkedToolChoice, type ToolChoice, toolCallFormat, writesToolCalls } from "./tool-choice.ts";

export interface ChatOptions extends ChatTemplate {
  /** System prompt, which precedes all messages. */
  system?: string | undefined;
  /** A conversation to continue. */
  messages?: readonly ChatMessage[] | undefined;
}

/** Options of one answer in a chat. */
export interface SendOptions extends GenerateOptions {
  /**
   * Which of the chat's tools the answer calls, as in OpenAI's API. `"auto"` (default) leaves it to the model. `"none"` hides the tools.
   * `"required"` forces a call of any tool, and `{ type: "function", function: { name } }` a call of that tool, with arguments that
   * match its schema. Calls appear in the text in the form of the model's template, and as `toolCalls` of the whole answer.
   */
  toolChoice?: ToolChoice | undefined;
}

/** The state of a chat, which `JSON.stringify(chat)` writes and `model.chat(JSON.parse(text))` restores. */
export interface ChatState extends ChatTemplate {
  messages: ChatMessage[];
}

/** The complete answer of a chat. */
export interface ChatCompletion extends Completion {
  /**
   * The tool calls in `text`. Set if there are any, the chat has tools, and the model's template writes calls as
   * `<tool_call>{json}</tool_call>`. Send their results as messages `{ role: "tool", content }`.
   */
  toolCalls?: ToolCall[];
}

/** A streaming answer. Iterate over its pieces, `await` the complete answer, or do both in this order. */
export type ChatReply = Reply<ChatCompletion>;

/**
 * A conversation with a model, as explicit state: it can be saved (`JSON.stringify`), forked and discarded. With a chat
 * template the model sees its own format; a base model without one simply continues the text of all messages. Each
 * answer uses the model's weights and active adapters at that moment, so it reflects training in between.
 *
 * @example
 * const chat = model.chat({ system: "You are brief." });
 * const { text } = await chat.send("And of Japan?");
 *
 * @example
 * const chat = model.chat({ tools: [weatherSchema], variables: { enable_thinking: false } });
 * const { toolCalls = [] } = await chat.send("Is it raining in Kyoto?"); // as OpenAI has them: { id, type, function: { name, arguments } }
 * await chat.send(toolCalls.map((call) => ({ role: "tool", content: answerOf(call) })));
 * await chat.send("And in Nara?", { toolChoice: "required" }); // a call for certain
 */
export class Chat {
  readonly languageModel: LanguageModel;
  /** All messages so far. */
  readonly messages: ChatMessage[];
  private readonly renderer: Renderer;
  private session: Session | undefined;
  private busy = false;

  /** @internal Use model.chat(). */
  constructor(languageModel: LanguageModel, options: ChatOptions = {}) {
    rejectUnknownNames(options, ["system", "messages", ...chatTemplateNames]);
    const { system, messages = [] } = options;
    this.renderer = checkedRenderer(languageModel.tokenizer, options);
    if (system !== undefined && typeof system !== "string") throw invalidArgument("system", "a string", system);
    if (!Array.isArray(messages)) throw invalidArgument("messages", "an array of { role, content }", messages);
    this.languageModel = languageModel;
    this.messages = messages.map((message) => checkedMessage(this.renderer, message));
    if (system !== undefined) this.messages.unshift({ role: "system", content: system });
  }

  /** @internal Use model.loadChat(). */
  static async load(languageModel: LanguageModel, path: string): Promise<Chat> {
    const { session, chat: state } = await Session.load(languageModel, path);
    try {
      if (typeof state !== "object" || state === null || Array.isArray(state))
        throw new HeddleError("INVALID_FILE", `${path}: expected a chat, got a session without one`);
      const chat = new Chat(languageModel, state);
      chat.session = session;
      return chat;
    } catch (error) {
      session.dispose();
      throw error instanceof HeddleError && error.code === "INVALID_ARGUMENT"
        ? new HeddleError("INVALID_FILE", `${path}: ${error.message}`, { cause: error })
        : error;
    }
  }

  /**
   * Writes the conversation with its KV cache to a file. `model.loadChat` continues from it without computing it again.
   * If the model has changed since the last answer, only the conversation is saved.
   * @throws HeddleError IO
   */
  async save(path: string): Promise<void> {
    this.session ??= this.languageModel.session();
    await this.session.saveWith(path, this.toJSON());
  }

  /**
   * Sends a message and returns the answer, which is added to `messages` when it is complete. After an error or an
   * abort the conversation is unchanged.
   * @param said the user's text, or messages such as results of tool calls
   */
  send(said: string | ChatMessage | readonly ChatMessage[], options: SendOptions = {}): ChatReply {
    checkObject("options", options);
    const messages = typeof said === "string" ? [{ role: "user", content: said }] : Array.isArray(said) ? said : [said];
    if (messages.length === 0) throw invalidArgument("send", "a text, or at least one message", said);
    const checked = messages.map((message) => checkedMessage(this.renderer, message));
    return new Reply(() => this.answer([...this.messages, ...checked], options));
  }

  /** Returns an independent conversation with the same history. */
  fork(): Chat {
    return new Chat(this.languageModel, this.toJSON());
  }

  /**
   * Returns the conversation and its template without the cache. `JSON.stringify` writes it, and `model.chat` continues
   * from it.
   */
  toJSON(): ChatState {
    return { ...this.renderer.template, messages: this.messages };
  }

  /** Number of tokens of the whole conversation, as the model would see it before its next answer. */
  get tokens(): number {
    return this.messages.length === 0 ? 0 : conversationTokens(this.renderer, this.messages);
  }

  /** Frees the KV cache. The messages stay, and a later `send` computes the cache again. */
  dispose(): void {
    this.session?.dispose();
    this.session = undefined;
  }
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** `dispose`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  private async *answer(
    messages: ChatMessage[],
    { toolChoice, ...options }: SendOptions,
  ): AsyncGenerator<Piece, ChatCompletion, undefined> {
    if (this.busy)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "chat: expected one answer at a time, got a second message while the first is being answered (fork() the chat)",
      );
    this.busy = true;
    try {
      this.session ??= this.languageModel.session();
      const { contextLength } = this.languageModel;
      // Values that are not numbers are refused when the options are checked.
      const wanted = typeof options.maxTokens === "number" ? options.maxTokens : DEFAULT_MAX_TOKENS;
      const reserve = Math.min(wanted, Math.floor(contextLength / 2));
      const fit = options.contextOverflow === "truncateLeft" ? { reserve } : undefined;
      const { signal } = options;
      const choice = checkedToolChoice(toolChoice);
      const renderer = rendererFor(this.renderer, choice);
      const prompt = await conversationPrompt(this.languageModel, renderer, messages, { fit, signal });
      const completion = yield* this.session.generate(prompt, {
        ...options,
        ...chosen(this.renderer, choice, options),
      });
      this.messages.splice(0, this.messages.length, ...messages, { role: "assistant", content: completion.text });
      const toolCalls = callsIn(completion.text, renderer);
      return { ...completion, ...(toolCalls.length > 0 && { toolCalls }) };
    } finally {
      this.busy = false;
    }
  }
}

/** Returns a renderer without tools if no tool may be called. */
function rendererFor(renderer: Renderer, choice: ToolChoice): Renderer {
  const { tools: _, ...template } = renderer.template;
  return choice === "none" ? { ...renderer, template } : renderer;
}

/** Returns the calls of a chat's tools in an answer. */
function callsIn(text: string, { tokenizer, template }: Renderer): ToolCall[] {
  if (!template.tools?.length || !writesToolCalls(tokenizer)) return [];
  const parser = new ToolCallParser();
  return [parser.push(text), parser.flush()].flatMap(({ calls }) => calls);
}

/** Applies a tool choice to the options. @throws HeddleError INVALID_ARGUMENT if the answer has another response format */
function chosen({ tokenizer, template }: Renderer, choice: ToolChoice, options: GenerateOptions): GenerateOptions {
  const responseFormat = toolCallFormat(choice, { ...template, tokenizer });
  if (!responseFormat) return {};
  if (options.responseFormat !== undefined && options.responseFormat.type !== "text")
    throw invalidArgument(
      "responseFormat",
      "no format together with a required tool call",
      options.responseFormat.type,
    );
  return { responseFormat };
}
