// Converts conversations to ids by chat templates.
import { checkObject, throwIfAborted } from "../core/errors.ts";
import { atOnce, inSlices } from "../core/slices.ts";
import { assistantSpans, type Render, tokenMask } from "./chat/assistant-mask.ts";
import {
  type ChatMessage,
  ChatRenderer,
  type ChatTemplateOptions,
  checkFitOptions,
  checkTemplateOptions,
  chooseTemplate,
  type Fit,
  type FitOptions,
  fitMessages,
  type RenderedChat,
} from "./chat/chat.ts";
import { generatedMask } from "./chat/generation-blocks.ts";
import { GuardCharacters } from "./chat/guard-characters.ts";
import type { GuardedTokens } from "./chat/injection-guard.ts";
import { type MessageSpan, messageSpans, messageTurns, type RenderOther } from "./chat/spans.ts";
import { Flag } from "./encode-options.ts";
import type { TokenizerConfig } from "./files/config.ts";
import type { TokenizerFile } from "./files/tokenizer-file.ts";
import { TextCodec } from "./text-codec.ts";

/** The conversations of a tokenizer: renders them by its chat template, and encodes them so that messages cannot forge special tokens. */
export abstract class ChatCodec extends TextCodec {
  abstract readonly config: TokenizerConfig;
  abstract readonly eosTokenIds: readonly number[];
  abstract get specialTokens(): ReadonlyMap<string, number>;
  /** @internal */
  protected abstract readonly file: TokenizerFile;

  private specialIds: ReadonlySet<number> | undefined;
  private guarded: GuardedTokens | undefined;

  /** Whether the tokenizer has a chat template. */
  get hasChatTemplate(): boolean {
    return Object.keys(this.config.chatTemplates).length > 0;
  }

  /**
   * Converts a conversation to text and ids by the tokenizer's chat template. Without one it uses a default template: ChatML if the
   * vocabulary has its tokens, else "User: …" and "Assistant: …". No BOS or EOS is added, because templates write them.
   *
   * Text inside the messages never becomes a special token: for `{ role: "user", content: "<|im_end|>" }` the ids are those of the
   * characters, not of the token. The same holds for characters that the normalizer converts to those of a token, such as `＜|im_end|＞`
   * under NFKC. Use `ids`: encoding `text` again does not distinguish the messages from the template.
   *
   * @throws HeddleError INVALID_ARGUMENT for messages that the template refuses, INVALID_FILE for a template that is invalid or exceeds
   * the limits on time, steps and memory
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): { text: string; ids: Uint32Array } {
    checkTemplateOptions(options);
    const { text, barriers } = atOnce(this.rendered(messages, options));
    return { text, ids: this.encodeGuarded(text, barriers) };
  }

  /**
   * Like applyChatTemplate, without blocking the event loop: the template yields between its statements, and long texts are encoded on a
   * thread. Rejects with ABORTED if the signal fires.
   */
  async applyChatTemplateAsync(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions & { signal?: AbortSignal | undefined } = {},
  ): Promise<{ text: string; ids: Uint32Array }> {
    checkObject("options", options);
    const { signal, ...rest } = options;
    return this.applyChatTemplateUpTo(Number.POSITIVE_INFINITY, messages, rest, signal);
  }

  /**
   * @internal Like applyChatTemplateAsync, but returns only the first `most + 1` ids of a long conversation that has more. A text that is
   * encoded synchronously, because it is short, keeps all its ids.
   */
  async applyChatTemplateUpTo(
    most: number,
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
    signal: AbortSignal | undefined,
  ): Promise<{ text: string; ids: Uint32Array }> {
    checkTemplateOptions(options);
    throwIfAborted(signal, "chat template");
    const { text, barriers } = await inSlices(this.rendered(messages, options), "chat template", signal);
    const bound = Number.isFinite(most) ? most : undefined;
    return { text, ids: await this.encodeGuardedAsync(text, barriers, { signal, most: bound }) };
  }

  /**
   * Like applyChatTemplate, with a mask of the assistant's tokens: 1 for its answers and the tokens that end them, 0 for everything else,
   * including the markup before an answer. If the template has `{% generation %}` tags, the mask covers the tokens that overlap them,
   * like transformers' return_assistant_tokens_mask.
   */
  applyChatTemplateWithMask(
    messages: readonly ChatMessage[],
    options: Omit<ChatTemplateOptions, "addGenerationPrompt"> = {},
  ): { text: string; ids: Uint32Array; assistantMask: Uint8Array } {
    checkTemplateOptions(options);
    const chat = atOnce(this.renderer(messages, options));
    const { text, barriers } = atOnce(chat.renderWhole(messages));
    const flags = Flag.allowSpecial | Flag.offsets;
    const [ids, offsets] = this.native.encodeWithOffsets(text, flags, barriers);
    const generated = atOnce(chat.renderGenerated(messages));
    // Without its marks, the marked rendering must equal `text`. It differs if a filter of the template has changed the marks.
    if (generated?.text === text)
      return { text, ids, assistantMask: generatedMask(ids.length, offsets, generated.spans) };
    const spans = assistantSpans(messages, text, (some, opens) => chat.renderPart(some, opens));
    this.specialIds ??= new Set([...this.specialTokens.values(), ...this.eosTokenIds]);
    const special = this.specialIds;
    return { text, ids, assistantMask: tokenMask(text, ids, offsets, spans, (id) => special.has(id)) };
  }

  /**
   * Like applyChatTemplate, and also returns the span of tokens of each message, including its markup. The spans are contiguous from the
   * first token to the last one, or to the generation prompt.
   */
  applyChatTemplateWithSpans(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): { text: string; ids: Uint32Array; spans: MessageSpan[] } {
    checkTemplateOptions(options);
    const chat = atOnce(this.renderer(messages, options));
    const opens = options.addGenerationPrompt === true;
    const { text, barriers } = atOnce(chat.renderWhole(messages));
    const renderPart: Render = (some, addGenerationPrompt) => chat.renderPart(some, addGenerationPrompt);
    const answered = opens ? renderPart(messages, false) : text;
    // Offset at which the generation prompt begins, or the text's end.
    const prompt = answered !== undefined && text.startsWith(answered) ? answered.length : text.length;
    const renderOther: RenderOther = (others) => atOnce(this.renderer(others, options)).renderPart(others, false);
    const turns = messageTurns(messages, text.slice(0, prompt), renderPart, renderOther);
    const [ids, offsets] = this.native.encodeWithOffsets(text, Flag.allowSpecial | Flag.offsets, barriers);
    return { text, ids, spans: messageSpans(turns, offsets, prompt) };
  }

  /** Creates the renderer of a conversation. */
  private renderer(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
  ): Generator<void, ChatRenderer, undefined> {
    checkObject("options", options);
    const template = chooseTemplate(this.config, (token) => this.tokenToId(token) !== undefined, options);
    return ChatRenderer.of(messages, { template, guarded: this.guardedTokens, config: this.config, options });
  }

  private get guardedTokens(): GuardedTokens {
    if (!this.guarded) {
      const tokens = this.plan.spec.added.filter((token) => token.guarded);
      const normalizes = this.file.normalizer !== undefined && tokens.some((token) => token.normalized);
      const characters = normalizes ? new GuardCharacters((text) => this.native.guardCharacters(text)) : undefined;
      this.guarded = { tokens, characters };
    }
    return this.guarded;
  }

  private *rendered(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions,
  ): Generator<void, RenderedChat, undefined> {
    const chat = yield* this.renderer(messages, options);
    return yield* chat.renderWhole(messages);
  }

  /**
   * Tests whether a conversation fits a context. If not, finds the messages to drop: the oldest turns, but never the
   * system messages at the beginning or the last turn.
   */
  fit(messages: readonly ChatMessage[], options: FitOptions): Fit {
    checkFitOptions(options);
    const search = fitMessages(messages, options);
    let step = search.next();
    const chat = atOnce(this.renderer(messages, options));
    while (!step.done) {
      const { text, barriers } = atOnce(chat.renderWhole(step.value));
      step = search.next(this.encodeGuarded(text, barriers).length);
    }
    return step.value;
  }

  /** Like fit, without blocking the event loop. Rejects with ABORTED if the signal fires. */
  async fitAsync(
    messages: readonly ChatMessage[],
    options: FitOptions & { signal?: AbortSignal | undefined },
  ): Promise<Fit> {
    checkObject("options", options);
    const { signal, ...rest } = options;
    checkFitOptions(rest);
    const search = fitMessages(messages, rest);
    let step = search.next();
    throwIfAborted(signal, "chat template");
    const chat = await inSlices(this.renderer(messages, rest), "chat template", signal);
    while (!step.done) {
      throwIfAborted(signal, "chat template");
      const { text, barriers } = await inSlices(chat.renderWhole(step.value), "chat template", signal);
      step = search.next((await this.encodeGuardedAsync(text, barriers, { signal })).length);
    }
    return step.value;
  }
}
