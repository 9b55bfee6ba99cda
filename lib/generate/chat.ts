import { describe, HeddleError, invalidArgument, withoutTokenizer } from "../errors.ts";
import type { Completion } from "./completion.ts";
import { type ChatMessage, conversationPrompt } from "./conversation.ts";
import type { LanguageModel } from "./language-model.ts";
import { DEFAULT_MAX_TOKENS, type GenerateOptions, rejectUnknownNames } from "./options.ts";
import type { Piece } from "./sequence.ts";
import { Session } from "./session.ts";

export interface ChatOptions {
  /** Instructions that come before everything. */
  system?: string | undefined;
  /** A conversation to continue. */
  messages?: readonly ChatMessage[] | undefined;
}

/** What `JSON.stringify(chat)` holds and `model.chat(JSON.parse(text))` takes. */
export interface ChatState {
  messages: ChatMessage[];
}

/** An answer under way: `await` it for the whole, or iterate over its pieces as they come. */
export interface ChatReply extends Omit<Promise<Completion>, typeof Symbol.toStringTag>, AsyncIterable<Piece> {}

/**
 * A conversation with a model, as explicit state: it can be saved (`JSON.stringify`), forked and thrown away. With a chat
 * template the model sees its own format; a base model without one simply continues the text of all messages.
 *
 * @example
 * const chat = model.chat({ system: "You are brief." });
 * const { text } = await chat.send("And of Japan?");
 */
export class Chat {
  readonly languageModel: LanguageModel;
  /** Everything said so far. */
  readonly messages: ChatMessage[];
  private session: Session | undefined;
  private busy = false;

  /** @internal Use model.chat(). */
  constructor(languageModel: LanguageModel, options: ChatOptions = {}) {
    rejectUnknownNames(options, ["system", "messages"]);
    const { system, messages = [] } = options;
    if (!languageModel.tokenizer) throw withoutTokenizer("chat");
    if (system !== undefined && typeof system !== "string") throw invalidArgument("system", "a string", system);
    if (!Array.isArray(messages)) throw invalidArgument("messages", "an array of { role, content }", messages);
    this.languageModel = languageModel;
    this.messages = messages.map(checkedMessage);
    if (system !== undefined) this.messages.unshift({ role: "system", content: system });
  }

  /** @internal Use model.loadChat(). */
  static async load(languageModel: LanguageModel, path: string): Promise<Chat> {
    const { session, messages } = await Session.load(languageModel, path);
    try {
      if (messages === undefined)
        throw new HeddleError("INVALID_FILE", `${path}: expected a chat, got a session without messages`);
      const chat = new Chat(languageModel, { messages: messages as ChatMessage[] });
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
   * Writes the conversation with its KV cache to a file, from which `model.loadChat` goes on without computing it again.
   * @throws HeddleError IO
   */
  async save(path: string): Promise<void> {
    this.session ??= this.languageModel.session();
    await this.session.saveWith(path, this.messages);
  }

  /**
   * Says something and gives the answer, which joins `messages` when it is complete. After an error or an abort the
   * conversation is what it was before.
   */
  send(text: string, options: GenerateOptions = {}): ChatReply {
    if (typeof text !== "string") throw invalidArgument("text", "a string", text);
    return new Reply(() => this.answer([...this.messages, { role: "user", content: text }], options));
  }

  /** A conversation of its own with the same past. */
  fork(): Chat {
    return new Chat(this.languageModel, { messages: this.messages });
  }

  toJSON(): ChatState {
    return { messages: this.messages };
  }

  /** Tokens of the whole conversation, as the model would see it before its next answer. */
  get tokens(): number {
    return this.messages.length === 0 ? 0 : conversationPrompt(this.languageModel, this.messages).length;
  }

  /** Frees the KV cache; the messages stay, and a later `send` computes it again. */
  dispose(): void {
    this.session?.dispose();
    this.session = undefined;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  private async *answer(
    messages: ChatMessage[],
    options: GenerateOptions,
  ): AsyncGenerator<Piece, Completion, undefined> {
    if (this.busy)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        "chat: expected one answer at a time, got a second message while the first is being answered (fork() the chat)",
      );
    this.busy = true;
    try {
      this.session ??= this.languageModel.session();
      const { contextLength } = this.languageModel;
      const reserve = Math.min(options.maxTokens ?? DEFAULT_MAX_TOKENS, Math.floor(contextLength / 2));
      const fit = options.contextOverflow === "truncateLeft" ? { reserve } : undefined;
      const prompt = conversationPrompt(this.languageModel, messages, fit);
      const completion = yield* this.session.stream(prompt, options);
      this.messages.splice(0, this.messages.length, ...messages, { role: "assistant", content: completion.text });
      return completion;
    } finally {
      this.busy = false;
    }
  }
}

function checkedMessage(message: unknown): ChatMessage {
  const { role, content } = (typeof message === "object" && message !== null ? message : {}) as Partial<ChatMessage>;
  if ((role !== "system" && role !== "user" && role !== "assistant") || typeof content !== "string")
    throw invalidArgument(
      "message",
      "{ role: system, user or assistant, content: a string }",
      describe({ role, content }),
    );
  return { role, content };
}

/** Starts when it is first awaited or iterated, and only once. */
class Reply implements ChatReply {
  private readonly start: () => AsyncGenerator<Piece, Completion, undefined>;
  private started = false;
  private whole: Promise<Completion> | undefined;

  constructor(start: () => AsyncGenerator<Piece, Completion, undefined>) {
    this.start = start;
  }

  // biome-ignore lint/suspicious/noThenProperty: a reply is awaitable by design
  then<A = Completion, B = never>(
    done?: ((value: Completion) => A | PromiseLike<A>) | null,
    failed?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.whole ??= (async () => {
      const pieces = this.begin();
      for (;;) {
        const step = await pieces.next();
        if (step.done) return step.value;
      }
    })();
    return this.whole.then(done, failed);
  }

  /** As a promise's. */
  // biome-ignore lint/suspicious/noExplicitAny: what Promise says of a reason
  catch<B = never>(failed?: ((reason: any) => B | PromiseLike<B>) | null): Promise<Completion | B> {
    return this.then(null, failed);
  }

  /** As a promise's. */
  finally(settled?: (() => void) | null): Promise<Completion> {
    return this.then().finally(settled);
  }

  [Symbol.asyncIterator](): AsyncIterator<Piece, Completion, undefined> {
    return this.begin();
  }

  private begin(): AsyncGenerator<Piece, Completion, undefined> {
    if (this.started)
      throw new HeddleError("INVALID_ARGUMENT", "reply: expected to be awaited or iterated once, got a second reader");
    this.started = true;
    return this.start();
  }
}
