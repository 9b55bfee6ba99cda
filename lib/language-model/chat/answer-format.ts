// Parses and constrains a model's answers in the form that its chat template uses.
import {
  type CallFormatName,
  callFormatOf,
  chooseCallFormat,
  chooseReasoningFormat,
} from "../../answers/call-formats.ts";
import {
  controlsOf,
  EFFORTS,
  effortsOf,
  effortVariables,
  hasControls,
  levelVariables,
  offVariables,
  onVariables,
  type ReasoningAmount,
  type ReasoningControls,
  type ReasoningEffort,
} from "../../answers/effort.ts";
import { type CallFormat, marksOf, type ReasoningFormat, type WholeFormat } from "../../answers/format.ts";
import type { AnswerParser } from "../../answers/parts.ts";
import { AnswerReader, type PromptEnd } from "../../answers/reader.ts";
import { toolsByName } from "../../answers/tools.ts";
import type { AnswerFormat, ToolCallsFormat } from "../../constrain/index.ts";
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import type { LogitProcessor } from "../../inference/generation-options.ts";
import { familyOf } from "../../models/registry.ts";
import { chooseTemplate } from "../../tokenizer/chat/chat.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import type { ChatTemplate } from "./conversation.ts";
import { messageLimit } from "./message-limit.ts";
import { reasoningLimit } from "./reasoning-limit.ts";
import { templateTools } from "./template-messages.ts";
import type { ToolChoice } from "./tool-choice.ts";

/** The model whose answers are read. LanguageModel is one. */
interface AnsweringModel {
  readonly tokenizer?: Tokenizer | undefined;
  readonly config: { readonly modelType: string };
}

/** Number of tokens at the end of a prompt that are searched for the marks of reasoning. */
const TAIL = 64;
/** Seed-OSS's template may write this token after the mark that opens reasoning. A prompt that ends with both is within reasoning. */
const PREAMBLE = "<seed:cot_budget_reflect>";

/**
 * The form of reasoning and tool calls in the answers of a conversation. The conversation's chat template determines it, so a fine-tune
 * with another family's template gets that family's forms.
 *
 * @example
 * const form = new AnswerForm(model, { tools });
 * const responseFormat = form.callFormat("required", { prompt });      // undefined for "auto" and "none"
 * const options = { responseFormat, visibleTokens: form.visibleTokens }; // for generate
 * const parser = form.parser({ prompt });                              // undefined if answers are plain text
 */
export class AnswerForm {
  private readonly tokenizer: Tokenizer | undefined;
  /** The text of the chat template. Undefined without a template. */
  private readonly template: string | undefined;
  private readonly tools: readonly unknown[];
  private readonly variables: Readonly<Record<string, unknown>> | undefined;
  private readonly callsIn: CallFormatName | undefined;
  private readonly reasoning: ReasoningFormat | undefined;
  private rendered: string | undefined;
  private found: ReasoningControls | undefined;

  /** @param inputs inputs of the template @throws HeddleError NOT_FOUND for an unknown template */
  constructor(
    { tokenizer, config }: AnsweringModel,
    inputs: Pick<ChatTemplate, "tools" | "template" | "variables"> = {},
  ) {
    const { tools = [], template, variables } = inputs;
    this.tokenizer = tokenizer;
    this.tools = tools;
    this.variables = variables;
    if (!tokenizer || (template === undefined && !tokenizer.hasChatTemplate)) return;
    const hasToken = (token: string) => tokenizer.tokenToId(token) !== undefined;
    this.template = chooseTemplate(tokenizer.config, hasToken, { tools, template });
    this.callsIn = chooseCallFormat(this.template, familyOf(config.modelType).calls);
    this.reasoning = this.whole ? undefined : chooseReasoningFormat(this.template);
  }

  private get calls(): CallFormat | WholeFormat | undefined {
    return this.callsIn && callFormatOf(this.callsIn);
  }

  /** The format, if it structures the whole answer. */
  private get whole(): WholeFormat | undefined {
    const { calls } = this;
    return calls && "marks" in calls ? calls : undefined;
  }

  /** Whether the model can call the tools of the conversation. */
  get hasCalls(): boolean {
    return this.callsIn !== undefined && this.tools.length > 0;
  }

  /** Whether answers may contain reasoning. */
  get hasReasoning(): boolean {
    return this.whole !== undefined || this.reasoning !== undefined;
  }

  /** The special tokens that must be part of the text, for the option `visibleTokens`. */
  get visibleTokens(): string[] {
    const { calls, reasoning, whole } = this;
    const formats = [...(calls && (whole || this.hasCalls) ? [calls] : []), ...(reasoning ? [reasoning] : [])];
    return [...new Set(formats.flatMap(marksOf))].filter((text) => this.tokenizer?.specialTokens.has(text));
  }

  /** The tokens that begin a call. Forbid them if no call is allowed. */
  get callTokens(): number[] {
    const { calls } = this;
    if (!calls || !("opens" in calls)) return [];
    return (this.tokenizer?.addedTokens ?? [])
      .filter(({ content }) => calls.opens.includes(content))
      .map(({ id }) => id);
  }

  /**
   * Makes the parser of one answer. Undefined if the answer is plain text.
   * @param of.prompt the prompt's ids, which may begin the reasoning. Default: what the template renders for a short conversation
   * @param of.maxCalls maximum number of calls. The answer ends with the last of them
   * @param of.isCallOrJson whether only an answer that begins with a call contains calls. Default false
   */
  parser(
    of: {
      prompt?: ArrayLike<number> | undefined;
      maxCalls?: number | undefined;
      isCallOrJson?: boolean | undefined;
    } = {},
  ): AnswerParser | undefined {
    const { hasCalls, whole, reasoning, tools } = this;
    if (!hasCalls && !this.hasReasoning) return undefined;
    const calls = hasCalls && !whole ? (this.calls as CallFormat) : undefined;
    const shared = { tools: toolsByName(tools), maxCalls: of.maxCalls, isCallOrJson: of.isCallOrJson };
    if (whole) return new AnswerReader({ ...shared, whole, withCalls: hasCalls });
    return new AnswerReader({ ...shared, calls, reasoning, promptEnd: this.promptEnd(of.prompt) });
  }

  /**
   * Returns the response format of an answer that must be a call, or for "auto" with `otherwise`, either a call or that format. Undefined for
   * "none", and for "auto" without `otherwise` or without a tool that the model can call.
   * @param of.prompt as for `parser`
   * @param of.otherwise with "auto", the format of an answer without a call. The model then chooses between a call and this format
   * @throws HeddleError INVALID_ARGUMENT without tools, UNSUPPORTED if the template shows no form of tool calls
   */
  callFormat(
    choice: ToolChoice,
    of: {
      parallel?: boolean | undefined;
      prompt?: ArrayLike<number> | undefined;
      otherwise?: ToolCallsFormat["otherwise"];
    } = {},
  ): ToolCallsFormat | undefined {
    const { tools, callsIn: format, reasoning } = this;
    const isFree = choice === "auto";
    if (choice === "none" || (isFree && !(of.otherwise && this.hasCalls))) return undefined;
    if (tools.length === 0)
      throw new HeddleError("INVALID_ARGUMENT", "toolChoice: expected tools for a required tool call, got none");
    if (!format)
      throw new HeddleError(
        "UNSUPPORTED",
        "toolChoice: expected a chat template with a known form of tool calls, such as <tool_call>, for a required call, got another",
      );
    const reasoningEnd = reasoning && this.promptEnd(of.prompt) === "within" ? reasoning.close : undefined;
    return {
      type: "tool_calls",
      tools,
      format,
      ...(reasoningEnd !== undefined && { reasoningEnd }),
      ...(isFree && { parallel: of.parallel !== false, otherwise: of.otherwise }),
      ...(choice === "required" && { parallel: of.parallel === true }),
      ...(typeof choice === "object" && { name: choice.function.name }),
    };
  }

  /**
   * Returns a processor that closes the reasoning once it has `maxTokens` tokens. Undefined if the form of the answer has no reasoning.
   * @param of.prompt as for `parser`
   */
  reasoningLimit(of: { maxTokens: number; prompt?: ArrayLike<number> | undefined }): LogitProcessor | undefined {
    const { reasoning, tokenizer, whole } = this;
    if (!tokenizer) return undefined;
    if (whole) return messageLimit(tokenizer, whole.reasoning, of.maxTokens);
    return (
      reasoning &&
      reasoningLimit(tokenizer, reasoning, { promptEnd: this.promptEnd(of.prompt), maxTokens: of.maxTokens })
    );
  }

  /** Whether the model can reason before it answers. */
  get canReason(): boolean {
    return this.hasReasoning || hasControls(this.controls);
  }

  /** Whether no variable of the template turns the model's reasoning off. */
  get alwaysReasons(): boolean {
    return this.canReason && offVariables(this.controls) === undefined;
  }

  /** The efforts that `effortVariables` accepts. A model without reasoning has `"none"` only. */
  get efforts(): readonly ReasoningEffort[] {
    return this.canReason ? effortsOf(this.controls) : ["none"];
  }

  /**
   * Returns the template variables that set how much the model reasons. Pass them as the conversation's `variables`.
   * @throws HeddleError INVALID_ARGUMENT for another effort, UNSUPPORTED if the template cannot set it
   */
  effortVariables(effort: ReasoningEffort): Record<string, unknown> {
    if (!EFFORTS.includes(effort)) throw invalidArgument("reasoning", EFFORTS.join(", "), effort);
    const { efforts } = this;
    if (efforts.includes(effort)) return effortVariables(this.controls, effort) ?? {};
    const isUnset = efforts.every((one) => one === "none");
    const expected = isUnset
      ? "a chat template with a variable for it, such as enable_thinking"
      : `an effort that the chat template knows (${efforts.join(", ")})`;
    throw new HeddleError("UNSUPPORTED", `reasoning: expected ${expected}, got ${JSON.stringify(effort)}`);
  }

  /**
   * Returns the variables that turn reasoning on or off.
   * @param amount how much to reason. It is ignored if the template has no variable for it
   * @throws HeddleError UNSUPPORTED if the template cannot turn reasoning on or off
   */
  switchVariables(on: boolean, amount?: ReasoningAmount): Record<string, unknown> {
    if (!on && this.alwaysReasons)
      throw new HeddleError(
        "UNSUPPORTED",
        "reasoning: expected reasoning, because this model's chat template cannot turn it off",
      );
    if (on && !this.canReason)
      throw new HeddleError(
        "UNSUPPORTED",
        "reasoning: expected none, because this model's chat template has no reasoning",
      );
    return on ? onVariables(this.controls, amount) : (offVariables(this.controls) ?? {});
  }

  /** Returns the variable for an effort, or the nearest that the template knows, without turning reasoning on. */
  levelVariables(effort: ReasoningEffort | undefined): Record<string, unknown> {
    return levelVariables(this.controls, effort);
  }

  private get controls(): ReasoningControls {
    this.found ??= controlsOf(this.template ?? "");
    return this.found;
  }

  /** Returns where the end of a prompt is: within reasoning, after it, or before any. */
  private promptEnd(prompt: ArrayLike<number> | undefined): PromptEnd {
    const { reasoning, tokenizer } = this;
    if (!reasoning || !tokenizer) return "before";
    const text = prompt ? tokenizer.decode(Array.from(prompt).slice(-TAIL)) : this.shortPrompt();
    const [open, close] = [text.lastIndexOf(reasoning.open), text.lastIndexOf(reasoning.close)];
    const restAfter = (at: number, mark: string) =>
      text
        .slice(at + mark.length)
        .replace(PREAMBLE, "")
        .trim();
    if (open > close && restAfter(open, reasoning.open) === "") return "within";
    return close >= 0 && restAfter(close, reasoning.close) === "" ? "after" : "before";
  }

  /** Returns the prompt of a short conversation; "" if the template refuses it. */
  private shortPrompt(): string {
    const { tokenizer, tools, template, variables } = this;
    if (this.rendered === undefined)
      try {
        const given = tools.length > 0 && { tools: templateTools(tools, template ?? "") };
        const options = { template, variables, ...given, addGenerationPrompt: true };
        this.rendered = tokenizer!.applyChatTemplate([{ role: "user", content: "." }], options).text;
      } catch (error) {
        if (!(error instanceof HeddleError)) throw error;
        this.rendered = "";
      }
    return this.rendered;
  }
}

/**
 * Returns the response format if it is a JSON format. The model may then answer with a tool call instead. Undefined for other formats, and
 * for a schema object that validates the answer, because a tool call would not match it.
 */
export function jsonFormat(format: AnswerFormat | undefined): ToolCallsFormat["otherwise"] {
  if (typeof format !== "object" || !format || "~standard" in format || "validate" in format) return undefined;
  const isJson = format.type === "json_object" || format.type === "json_schema";
  return isJson ? (format as ToolCallsFormat["otherwise"]) : undefined;
}
