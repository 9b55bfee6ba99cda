// Renders conversations with chat templates, and fits a conversation into a context.
import { checkObject, describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import { checkFlag, checkWhole } from "../../core/option-values.ts";
import { atOnce } from "../../core/slices.ts";
import { checkNames, type Names } from "../../core/unknown-options.ts";
import type { TokenizerConfig } from "../files/config.ts";
import { chatMlTemplate, plainTemplate } from "./default-templates.ts";
import { type Generated, generatedSpans, hasGenerationTags, withGenerationMarks } from "./generation-blocks.ts";
import { ChatGuard, type GuardedTokens, noteTexts } from "./injection-guard.ts";
import { RenderTime } from "./jinja/limits.ts";
import { explained, renderTemplate } from "./jinja/render.ts";
import { UsedMarks } from "./marks.ts";

/** A message of a conversation. Chat templates get all its fields, also those not listed here. */
export interface ChatMessage {
  /** "system", "user", "assistant", "tool", or another role that the template supports. */
  role: string;
  /** The text, or parts such as `{ type: "text", text }`, if the template supports them. */
  content?: string | readonly unknown[] | null | undefined;
  [key: string]: unknown;
}

/** Options of `applyChatTemplate` and related methods. */
export interface ChatTemplateOptions {
  /** Whether to end with the beginning of the assistant's answer. Default false. */
  addGenerationPrompt?: boolean | undefined;
  /** Tool definitions, as JSON schemas, for templates that show them. */
  tools?: readonly unknown[] | undefined;
  /** Documents to answer from, for templates that show them. */
  documents?: readonly unknown[] | undefined;
  /** Name of one of the tokenizer's templates, or the text of a template. Default: the tokenizer's default template. */
  template?: string | undefined;
  /** Additional template variables, such as `{ enable_thinking: false }`. Their strings are trusted: they may contain special tokens. */
  variables?: Readonly<Record<string, unknown>> | undefined;
}

const TEMPLATE_NAMES: Names<ChatTemplateOptions> = {
  addGenerationPrompt: true,
  tools: true,
  documents: true,
  template: true,
  variables: true,
};
const FIT_NAMES: Names<FitOptions> = { ...TEMPLATE_NAMES, contextLength: true, reserve: true };

/** Checks the options of a rendering. @throws HeddleError INVALID_ARGUMENT */
export function checkTemplateOptions(options: ChatTemplateOptions): void {
  checkNames(options, TEMPLATE_NAMES);
  checkFlag("addGenerationPrompt", options.addGenerationPrompt);
}
/** Checks the options for fitting a conversation into the context. @throws HeddleError INVALID_ARGUMENT */
export function checkFitOptions(options: FitOptions): void {
  checkNames(options, FIT_NAMES);
  checkFlag("addGenerationPrompt", options.addGenerationPrompt);
}

/** A rendered conversation. */
export interface RenderedChat {
  text: string;
  /** UTF-16 offsets in `text` that no guarded token may span (see NativeTokenizer.encode). */
  barriers: Uint32Array;
}

function checkMessages(messages: unknown): asserts messages is readonly ChatMessage[] {
  if (!Array.isArray(messages)) throw invalidArgument("messages", "an array", messages);
  for (const [index, message] of messages.entries()) {
    const name = `messages[${index}]`;
    checkObject(name, message);
    const { role, content } = message as ChatMessage;
    // Some templates build special tokens from roles, so a role must be a plain word.
    if (typeof role !== "string" || !/^[\w.-]{1,64}$/u.test(role))
      throw invalidArgument(`${name}.role`, "a word", role);
    if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content)) {
      throw invalidArgument(`${name}.content`, "a string or an array of parts", content);
    }
  }
}

/** Returns the template: `options.template` by name or as text, else the tokenizer's, else a default one. */
export function chooseTemplate(
  config: TokenizerConfig,
  hasToken: (token: string) => boolean,
  options: ChatTemplateOptions,
): string {
  const { chatTemplates } = config;
  const own = (name: string) => (Object.hasOwn(chatTemplates, name) ? chatTemplates[name] : undefined);
  if (options.template !== undefined) {
    if (typeof options.template !== "string") throw invalidArgument("template", "a string", options.template);
    const named = own(options.template);
    if (named !== undefined) return named;
    if (/^[\w.-]+$/u.test(options.template)) {
      throw new HeddleError("NOT_FOUND", `template: the tokenizer has no template named ${describe(options.template)}`);
    }
    return options.template;
  }
  // As in transformers, prefer the template for tools if there are tools.
  const chosen = (options.tools && options.tools.length > 0 ? own("tool_use") : undefined) ?? own("default");
  if (chosen !== undefined) return chosen;
  return hasToken("<|im_start|>") && hasToken("<|im_end|>") ? chatMlTemplate : plainTemplate;
}

/** The template, options and guarded tokens of a rendering. */
interface ChatSetting {
  template: string;
  /** Tokens that a message's text must never be encoded as. */
  guarded: GuardedTokens;
  config: TokenizerConfig;
  options: ChatTemplateOptions;
}

/** The inputs of a template. */
interface ChatParts {
  /** A copy of each message, protected by the guard's marks. */
  messages: ReadonlyMap<ChatMessage, unknown>;
  variables: Readonly<Record<string, unknown>>;
  /** Marks that replace the template's generation tags in the rendered text. */
  marks: readonly [begin: string, end: string] | undefined;
}

/**
 * Renders a conversation or parts of it, any number of times. All renderings share one time limit. The generators yield regularly.
 */
export class ChatRenderer {
  private readonly setting: ChatSetting;
  private readonly guard: ChatGuard;
  private readonly parts: ChatParts;
  private readonly time = new RenderTime();

  private constructor(setting: ChatSetting, guard: ChatGuard, parts: ChatParts) {
    this.setting = setting;
    this.guard = guard;
    this.parts = parts;
  }

  /**
   * Makes a renderer. @param messages all messages that will be rendered @throws HeddleError INVALID_ARGUMENT for messages that are not
   * plain data, UNSUPPORTED
   */
  static *of(messages: readonly ChatMessage[], setting: ChatSetting): Generator<void, ChatRenderer, undefined> {
    checkMessages(messages);
    const { template, guarded, config, options } = setting;
    const { tools, documents, variables } = options;
    const used = new UsedMarks();
    yield* used.add(template);
    try {
      yield* noteTexts({ messages, tools, documents, variables }, used);
    } catch (cause) {
      if (cause instanceof HeddleError) throw cause;
      throw new HeddleError("INVALID_ARGUMENT", `messages: expected plain data (${describe(cause)})`, { cause });
    }
    const [begin, end] = hasGenerationTags(template) ? [used.take(), used.take()] : [];
    const guard = new ChatGuard(guarded, used);
    const copies = new Map<ChatMessage, unknown>();
    for (const message of messages)
      if (!copies.has(message)) copies.set(message, yield* guard.protect(message, "messages", 1));
    const all = {
      bos_token: config.bosToken ?? "",
      eos_token: config.eosToken ?? "",
      pad_token: config.padToken ?? "",
      unk_token: config.unkToken ?? "",
      sep_token: config.sepToken,
      cls_token: config.clsToken,
      mask_token: config.maskToken,
      ...variables,
      // Null, not undefined: templates test whether these variables are `none`, because transformers always sets them.
      tools: tools ? yield* guard.protect(tools, "tools") : null,
      documents: documents ? yield* guard.protect(documents, "documents") : null,
    };
    const marks = begin !== undefined && end !== undefined ? ([begin, end] as const) : undefined;
    return new ChatRenderer(setting, guard, { messages: copies, variables: all, marks });
  }

  /**
   * Renders messages as the options say. @param messages any of the renderer's messages @throws HeddleError INVALID_ARGUMENT,
   * INVALID_FILE
   */
  renderWhole(messages: readonly ChatMessage[]): Generator<void, RenderedChat, undefined> {
    return this.rendered(this.setting.template, messages, this.setting.options.addGenerationPrompt === true);
  }

  /** Returns the text of some of the messages; undefined if the template refuses them. @throws HeddleError INVALID_FILE */
  renderPart(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string | undefined {
    try {
      return atOnce(this.rendered(this.setting.template, messages, addGenerationPrompt)).text;
    } catch (error) {
      if (error instanceof HeddleError && error.code === "INVALID_ARGUMENT") return undefined;
      throw error;
    }
  }

  /** Renders messages, and finds the text that the template marks as generated. Returns undefined for a template without such marks. */
  *renderGenerated(messages: readonly ChatMessage[]): Generator<void, Generated | undefined, undefined> {
    if (!this.parts.marks) return undefined;
    const [begin, end] = this.parts.marks;
    const template = withGenerationMarks(this.setting.template, begin, end);
    const { text } = yield* this.rendered(template, messages, this.setting.options.addGenerationPrompt === true);
    return generatedSpans(text, begin, end);
  }

  private *rendered(
    template: string,
    messages: readonly ChatMessage[],
    addGenerationPrompt: boolean,
  ): Generator<void, RenderedChat, undefined> {
    const variables = {
      ...this.parts.variables,
      messages: messages.map((message) => this.parts.messages.get(message)),
      add_generation_prompt: addGenerationPrompt,
    };
    yield;
    const text = yield* renderTemplate(template, variables, this.guard.mark, this.time);
    try {
      return yield* this.time.slices(this.guard.release(text));
    } catch (cause) {
      throw explained(cause, template);
    }
  }
}

/** Options of `fit`. */
export interface FitOptions extends ChatTemplateOptions {
  /** Number of tokens that the context holds. */
  contextLength: number;
  /** Number of tokens to reserve for the answer, less than contextLength. Default 0. */
  reserve?: number | undefined;
}

/** The result of `fit`. */
export interface Fit {
  /** Whether `messages` fit. If false, even the last turn alone is too long. */
  fits: boolean;
  /** Number of tokens of the rendered `messages`. */
  tokens: number;
  /** contextLength minus reserve. */
  limit: number;
  /** The kept messages: leading system messages and the latest turns. */
  messages: ChatMessage[];
  /** The dropped messages, oldest first; empty if all fit. */
  dropped: ChatMessage[];
}

/**
 * Drops the oldest turns until the rest fits. A turn is a user's message and everything up to the user's next message.
 * System messages at the beginning and the last turn always stay. The generator yields messages to measure, and the caller passes the
 * number of their tokens to `next`.
 */
export function* fitMessages(
  messages: readonly ChatMessage[],
  options: FitOptions,
): Generator<readonly ChatMessage[], Fit, number> {
  checkMessages(messages);
  const { contextLength, reserve = 0 } = options;
  checkWhole("contextLength", contextLength, 1);
  if (!isWhole(reserve, 0, contextLength - 1))
    throw invalidArgument("reserve", `a whole number from 0 and below contextLength, ${contextLength}`, reserve);
  const limit = contextLength - reserve;
  let systemEnd = 0;
  while (systemEnd < messages.length && ["system", "developer"].includes(messages[systemEnd]!.role)) systemEnd++;
  // Indices at which turns begin. Messages may be dropped up to any of these.
  const cuts = [systemEnd];
  for (let i = systemEnd + 1; i < messages.length; i++) if (messages[i]!.role === "user") cuts.push(i);
  const keep = (cut: number) => [...messages.slice(0, systemEnd), ...messages.slice(cut)];
  // Find by bisection the first cut after which the rest fits. Every dropped turn lowers the number of tokens.
  let low = 0;
  let high = cuts.length - 1;
  let tokens = yield keep(cuts[0]!);
  if (tokens <= limit) high = 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((yield keep(cuts[middle]!)) <= limit) high = middle;
    else low = middle + 1;
  }
  const cut = cuts[high]!;
  if (high > 0) tokens = yield keep(cut);
  return { fits: tokens <= limit, tokens, limit, messages: keep(cut), dropped: messages.slice(systemEnd, cut) };
}
