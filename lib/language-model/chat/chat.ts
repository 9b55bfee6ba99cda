import { checkObject, HeddleError, invalidArgument } from "../../core/errors.ts";
import { isObject } from "../../core/is-object.ts";
import { checkString } from "../../core/option-values.ts";
import { rejectUnknownNames } from "../../core/unknown-options.ts";
import type { GenerateOptions, OptionsIn } from "../../inference/generation-options.ts";
import type { ChatMessage } from "../../tokenizer/index.ts";
import type { LanguageModel } from "../language-model.ts";
import { Reply } from "../reply.ts";
import { Session } from "../session.ts";
import {
  type ChatTemplate,
  chatTemplateNames,
  checkedMessage,
  checkedRenderer,
  conversationTokens,
  type Renderer,
} from "./conversation.ts";
import {
  answerTo,
  type ChatCompletion,
  type ChatPiece,
  type ChatReplyIn,
  keptMessage,
  type SendOptions,
} from "./respond.ts";

/** Options of `model.chat`. */
export interface ChatOptions extends ChatTemplate {
  /** System prompt, which precedes all messages. */
  system?: string | undefined;
  /** A conversation to continue. */
  messages?: readonly ChatMessage[] | undefined;
}

/** The state of a chat, which `JSON.stringify(chat)` writes and `model.chat(JSON.parse(text))` restores. */
export interface ChatState extends ChatTemplate {
  /** All messages so far. */
  messages: ChatMessage[];
}

/**
 * A conversation with a model, as explicit state: it can be saved (`JSON.stringify`), forked and discarded. A model
 * with a chat template sees the messages in its own format. A base model without one continues their concatenated texts. Each
 * answer uses the model's weights and active adapters at that moment, so it reflects training in between.
 *
 * @example
 * const chat = model.chat({ system: "You are brief." });
 * const { text } = await chat.send("What is the capital of Japan?");
 *
 * @example
 * const chat = model.chat({ tools: [weatherSchema], variables: { enable_thinking: false } });
 * const { toolCalls = [] } = await chat.send("Is it raining in Kyoto?"); // OpenAI's form: { id, type, function: { name, arguments } }
 * await chat.send(toolCalls.map((call) => ({ role: "tool", tool_call_id: call.id, content: answerOf(call) })));
 * await chat.send("And in Nara?", { toolChoice: "required" }); // forces a tool call
 */
export class Chat {
  /** The model that answers. */
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
    this.renderer = checkedRenderer(languageModel, options);
    checkString("system", system);
    if (!Array.isArray(messages)) throw invalidArgument("messages", "an array of { role, content }", messages);
    this.languageModel = languageModel;
    this.messages = messages.map((message) => checkedMessage(this.renderer, message));
    if (system !== undefined) this.messages.unshift({ role: "system", content: system });
  }

  /** @internal Use model.loadChat(). */
  static async load(languageModel: LanguageModel, path: string): Promise<Chat> {
    const { session, chat: state } = await Session.load(languageModel, path);
    try {
      if (!isObject(state))
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
   * Writes the conversation with its KV cache to a file. `model.loadChat` restores both without recomputing the cache.
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
  send<F>(
    said: string | ChatMessage | readonly ChatMessage[],
    options: OptionsIn<F, SendOptions> = {} as never,
  ): ChatReplyIn<F> {
    checkObject("options", options);
    const messages = typeof said === "string" ? [{ role: "user", content: said }] : Array.isArray(said) ? said : [said];
    if (messages.length === 0) throw invalidArgument("send", "a text, or at least one message", said);
    const checked = messages.map((message) => checkedMessage(this.renderer, message));
    return new Reply(() => this.answer([...this.messages, ...checked], options)) as ChatReplyIn<F>;
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
    return { ...this.renderer.template, messages: [...this.messages] };
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
    options: SendOptions,
  ): AsyncGenerator<ChatPiece, ChatCompletion, undefined> {
    if (this.busy)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "chat: expected one answer at a time, got a second message while the first is being answered (fork() the chat)",
      );
    this.busy = true;
    try {
      this.session ??= this.languageModel.session();
      const { session } = this;
      const generate = (prompt: Uint32Array, more: GenerateOptions) => session.generate(prompt, more);
      const completion = yield* answerTo(this.languageModel, this.renderer, messages, options, generate);
      this.messages.splice(0, this.messages.length, ...messages, keptMessage(completion));
      return completion;
    } finally {
      this.busy = false;
    }
  }
}
