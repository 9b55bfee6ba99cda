// Maps the amount of reasoning to the variables of a model's chat template.
import { tagsOf, variableReads } from "./template-tags.ts";

/** How much a model reasons before it answers, as in OpenAI's API. */
export type ReasoningEffort = "none" | "minimal" | "low" | "medium" | "high" | "xhigh";

/** The levels of effort, from the lowest. */
export const EFFORTS: readonly ReasoningEffort[] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/** Variables that turn reasoning on and off. Granite and DeepSeek have `thinking`, and Command A has `reasoning`. */
const SWITCHES = ["enable_thinking", "thinking", "reasoning"] as const;
const LEVEL = "reasoning_effort";
const BUDGET = "thinking_budget";

/** Levels that every template with `reasoning_effort` accepts. A template accepts another level only if its code has it as a string. */
const COMMON: readonly ReasoningEffort[] = ["low", "medium", "high"];
/** The nearest common level for each level that a template may not know. */
const NEAREST: Partial<Record<ReasoningEffort, ReasoningEffort>> = { minimal: "low", xhigh: "high" };
/** Tokens of reasoning, for templates with a budget but without levels. */
const BUDGETS: Readonly<Record<ReasoningEffort, number>> = {
  none: 0,
  minimal: 512,
  low: 1024,
  medium: 4096,
  high: 16384,
  xhigh: 32768,
};

/** The parts of a chat template that control reasoning. */
export interface ReasoningControls {
  /** Names of the variables that turn reasoning on and off. */
  readonly switches: readonly string[];
  /** Values that `reasoning_effort` may have. Empty if the template has no such variable. */
  readonly levels: readonly ReasoningEffort[];
  /** Whether the template writes a token budget into the prompt. */
  readonly hasBudget: boolean;
}

/** How much to reason. */
export interface ReasoningAmount {
  effort?: ReasoningEffort | undefined;
  /** Maximum number of reasoning tokens, for templates with a budget. */
  budget?: number | undefined;
}

type Variables = Record<string, unknown>;

/** Returns the reasoning controls of a chat template: the variables for reasoning that its code reads. */
export function controlsOf(template: string): ReasoningControls {
  const tags = tagsOf(template);
  const reads = (name: string) => variableReads(tags, name);
  const literals = new Set(tags.flatMap((tag) => tag.literals));
  return {
    switches: SWITCHES.filter(reads),
    levels: reads(LEVEL) ? EFFORTS.filter((effort) => COMMON.includes(effort) || literals.has(effort)) : [],
    hasBudget: reads(BUDGET),
  };
}

/** Whether a template has any reasoning control. */
export function hasControls({ switches, levels, hasBudget }: ReasoningControls): boolean {
  return switches.length > 0 || levels.length > 0 || hasBudget;
}

/**
 * Returns the efforts that a template accepts: its levels, or all efforts if it has controls without levels. With levels, `none` is accepted only
 * if a variable turns reasoning off.
 */
export function effortsOf(controls: ReasoningControls): readonly ReasoningEffort[] {
  if (!hasControls(controls)) return [];
  if (controls.levels.length === 0) return EFFORTS;
  return EFFORTS.filter((effort) => (effort === "none" ? offVariables(controls) : controls.levels.includes(effort)));
}

/** Returns the effort if it is known, or else its nearest common level. An effort without one, such as `none`, is returned unchanged. */
export function nearestEffort(known: readonly ReasoningEffort[], effort: ReasoningEffort): ReasoningEffort {
  return known.includes(effort) ? effort : (NEAREST[effort] ?? effort);
}

/** Returns the variables that turn reasoning off. Undefined if the template has no such variable. */
export function offVariables({ switches, levels, hasBudget }: ReasoningControls): Variables | undefined {
  const variables = {
    ...switched(switches, false),
    ...(levels.includes("none") && { [LEVEL]: "none" }),
    ...(hasBudget && { [BUDGET]: 0 }),
  };
  return Object.keys(variables).length > 0 ? variables : undefined;
}

/**
 * Returns the variables that turn reasoning on. An effort or a budget is left out if the template has no variable for it. An effort becomes a
 * budget only if the template has no levels.
 */
export function onVariables(controls: ReasoningControls, { effort, budget }: ReasoningAmount = {}): Variables {
  const { switches, levels, hasBudget } = controls;
  const tokens = budget ?? (effort !== undefined && levels.length === 0 ? BUDGETS[effort] : undefined);
  return {
    ...switched(switches, true),
    ...levelVariables(controls, effort),
    ...(hasBudget && tokens !== undefined && { [BUDGET]: tokens }),
  };
}

/** Returns the variable `reasoning_effort` with the effort or the nearest level. Empty if the template has no levels. */
export function levelVariables({ levels }: ReasoningControls, effort: ReasoningEffort | undefined): Variables {
  return effort === undefined || levels.length === 0 ? {} : { [LEVEL]: nearestEffort(levels, effort) };
}

/** Returns the variables for an effort. Undefined if the template does not accept it. */
export function effortVariables(controls: ReasoningControls, effort: ReasoningEffort): Variables | undefined {
  if (!effortsOf(controls).includes(effort)) return undefined;
  return effort === "none" ? offVariables(controls) : onVariables(controls, { effort });
}

function switched(names: readonly string[], on: boolean): Variables {
  return Object.fromEntries(names.map((name) => [name, on]));
}
