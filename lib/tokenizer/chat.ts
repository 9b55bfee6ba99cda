// Conversations → ids: the chat template, and what of a conversation fits a context.
import { describe, HeddleError, invalidArgument } from "../errors.ts";
import { type Generated, generatedSpans, hasGenerationTags, withGenerationMarks } from "./chat-generation.ts";
import { ChatGuard, type GuardedTokens, noteTexts } from "./chat-guard.ts";
import { UsedMarks } from "./chat-marks.ts";
import { renderTemplate } from "./chat-render.ts";
import type { TokenizerConfig } from "./config.ts";
import { chatMlTemplate, plainTemplate } from "./default-templates.ts";
import { checkFlag, checkNames, type Names } from "./option-names.ts";

/** A message of a conversation, as chat templates read it; fields besides are handed on to them. */
export interface ChatMessage {
  /** "system", "user", "assistant", "tool", or what else the template knows. */
  role: string;
  content?: string | readonly unknown[] | null | undefined;
  [key: string]: unknown;
}

/** Options of `applyChatTemplate` and its kin. */
export interface ChatTemplateOptions {
  /** End with the beginning of the assistant's answer. Default false. */
  addGenerationPrompt?: boolean | undefined;
  /** Tool definitions, as JSON schemas, for templates that show them. */
  tools?: readonly unknown[] | undefined;
  /** Documents to answer from, for templates that show them. */
  documents?: readonly unknown[] | undefined;
  /** Name of one of the tokenizer's templates, or the text of a template. Default: the tokenizer's own. */
  template?: string | undefined;
  /** More variables, such as `{ enable_thinking: false }`. Strings in it are the caller's own and not guarded. */
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

export function checkTemplateOptions(options: ChatTemplateOptions): void {
  checkNames(options, TEMPLATE_NAMES);
  checkFlag("addGenerationPrompt", options.addGenerationPrompt);
}
export function checkFitOptions(options: FitOptions): void {
  checkNames(options, FIT_NAMES);
  checkFlag("addGenerationPrompt", options.addGenerationPrompt);
}

export interface RenderedChat {
  text: string;
  /** UTF-16 offsets of `text` that no special token may span: see NativeTokenizer.encode. */
  barriers: Uint32Array;
}

function checkMessages(messages: unknown): asserts messages is readonly ChatMessage[] {
  if (!Array.isArray(messages)) throw invalidArgument("messages", "an array", messages);
  for (const [index, message] of messages.entries()) {
    const name = `messages[${index}]`;
    if (typeof message !== "object" || message === null) throw invalidArgument(name, "an object", message);
    const { role, content } = message as ChatMessage;
    // Some templates build special tokens of roles, so a role is a plain word.
    if (typeof role !== "string" || !/^[\w.-]{1,64}$/u.test(role))
      throw invalidArgument(`${name}.role`, "a word", role);
    if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content)) {
      throw invalidArgument(`${name}.content`, "a string or an array of parts", content);
    }
  }
}

/** The template's text: `options.template` by name or itself, else the tokenizer's, else a default one. */
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
      throw new HeddleError("NOT_FOUND", `template: the tokenizer has none named ${describe(options.template)}`);
    }
    return options.template;
  }
  // As Hugging Face does, where there are several and one is for tools.
  const chosen = (options.tools && options.tools.length > 0 ? own("tool_use") : undefined) ?? own("default");
  if (chosen !== undefined) return chosen;
  return hasToken("<|im_start|>") && hasToken("<|im_end|>") ? chatMlTemplate : plainTemplate;
}

/** Renders a conversation. It yields every so often, but for what the template itself does, which is one piece. */
export function* renderChat(
  messages: readonly ChatMessage[],
  template: string,
  guarded: GuardedTokens,
  config: TokenizerConfig,
  options: ChatTemplateOptions,
): Generator<void, RenderedChat, undefined> {
  const { rendered, guard } = yield* renderGuarded(messages, () => template, { template, guarded, config, options });
  return yield* guard.release(rendered);
}

/** What of a conversation the template says the assistant generates; undefined where it says nothing of it. */
export function* renderGenerated(
  messages: readonly ChatMessage[],
  template: string,
  guarded: GuardedTokens,
  config: TokenizerConfig,
  options: ChatTemplateOptions,
): Generator<void, Generated | undefined, undefined> {
  if (!hasGenerationTags(template)) return undefined;
  let [begin, end]: (string | undefined)[] = [];
  const marked = (used: UsedMarks) => {
    [begin, end] = [used.take(), used.take()];
    return begin === undefined || end === undefined ? template : withGenerationMarks(template, begin, end);
  };
  const { rendered, guard } = yield* renderGuarded(messages, marked, { template, guarded, config, options });
  const { text } = yield* guard.release(rendered);
  return begin === undefined || end === undefined ? undefined : generatedSpans(text, begin, end);
}

/** @param templateOf the template, given what private-use characters take part */
function* renderGuarded(
  messages: readonly ChatMessage[],
  templateOf: (used: UsedMarks) => string,
  {
    template,
    guarded: against,
    config,
    options,
  }: { template: string; guarded: GuardedTokens; config: TokenizerConfig; options: ChatTemplateOptions },
): Generator<void, { rendered: string; guard: ChatGuard }, undefined> {
  checkMessages(messages);
  const { tools, documents, variables } = options;
  const used = new UsedMarks();
  yield* used.add(template);
  try {
    yield* noteTexts({ messages, tools, documents, variables }, used);
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    throw new HeddleError("INVALID_ARGUMENT", `messages: expected plain data (${describe(cause)})`, { cause });
  }
  const own = templateOf(used);
  const guard = new ChatGuard(against, used);
  const guarded = {
    messages: yield* guard.protect(messages, "messages"),
    // Templates tell by `none` that there are no tools: transformers sets both always.
    tools: tools ? yield* guard.protect(tools, "tools") : null,
    documents: documents ? yield* guard.protect(documents, "documents") : null,
  };
  const given = {
    bos_token: config.bosToken ?? "",
    eos_token: config.eosToken ?? "",
    pad_token: config.padToken ?? "",
    unk_token: config.unkToken ?? "",
    sep_token: config.sepToken,
    cls_token: config.clsToken,
    mask_token: config.maskToken,
    ...variables,
    ...guarded,
    add_generation_prompt: options.addGenerationPrompt === true,
  };
  return { rendered: renderTemplate(own, given, guard.mark), guard };
}

/** Options of `fit`. */
export interface FitOptions extends ChatTemplateOptions {
  /** Tokens that the model can hold. */
  contextLength: number;
  /** Of these, tokens to keep free for the answer, fewer than all. Default 0. */
  reserve?: number | undefined;
}

/** What of a conversation fits, as `fit` says. */
export interface Fit {
  /** Whether `messages` fit. false: not even the last turn does. */
  fits: boolean;
  /** Tokens of `messages`, rendered. */
  tokens: number;
  /** contextLength less reserve. */
  limit: number;
  /** What is kept: system messages at the beginning, and the latest turns. */
  messages: ChatMessage[];
  /** What is left out, oldest first; empty if all fit. */
  dropped: ChatMessage[];
}

/**
 * Drops the oldest turns, each a user's message with all that answers it, until the rest fits. System messages at the
 * beginning and the last turn always stay. It yields messages and is given the number of their tokens.
 */
export function* fitMessages(
  messages: readonly ChatMessage[],
  options: FitOptions,
): Generator<readonly ChatMessage[], Fit, number> {
  checkMessages(messages);
  const { contextLength, reserve = 0 } = options;
  if (!Number.isInteger(contextLength) || contextLength < 1) {
    throw invalidArgument("contextLength", "a whole number from 1", contextLength);
  }
  if (!Number.isInteger(reserve) || reserve < 0 || reserve >= contextLength)
    throw invalidArgument("reserve", `a whole number from 0 and below contextLength, ${contextLength}`, reserve);
  const limit = contextLength - reserve;
  let systemEnd = 0;
  while (systemEnd < messages.length && ["system", "developer"].includes(messages[systemEnd]!.role)) systemEnd++;
  // Where a turn begins: the conversation may be cut before any of these.
  const cuts = [systemEnd];
  for (let i = systemEnd + 1; i < messages.length; i++) if (messages[i]!.role === "user") cuts.push(i);
  const keep = (cut: number) => [...messages.slice(0, systemEnd), ...messages.slice(cut)];
  // The first cut after which the rest fits: token counts fall with every turn dropped.
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
