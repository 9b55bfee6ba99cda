// The formats of tool calls and reasoning, and the choice among them by a model's chat template.
import type { CallFormat, ReasoningFormat, WholeFormat } from "./format.ts";
import { commandR, commandRAction } from "./formats/command-r.ts";
import { deepseek, deepseekBlocks } from "./formats/deepseek.ts";
import { qwenXml, seedXml } from "./formats/function-xml.ts";
import { glm } from "./formats/glm.ts";
import { glmPlain } from "./formats/glm-plain.ts";
import { granite } from "./formats/granite.ts";
import { harmony } from "./formats/harmony.ts";
import { hermes, smollm } from "./formats/hermes.ts";
import { hunyuan } from "./formats/hunyuan.ts";
import { llama } from "./formats/llama.ts";
import { mistral, mistralArguments } from "./formats/mistral.ts";
import { phi, phiFunctools } from "./formats/phi.ts";
import { REASONING_FORMATS } from "./reasoning.ts";

/** The formats of tool calls. The first one that recognizes a template is chosen, so specific formats come before general ones. */
const CALL_FORMATS = {
  harmony,
  mistral_args: mistralArguments,
  mistral,
  deepseek_blocks: deepseekBlocks,
  deepseek,
  seed_xml: seedXml,
  qwen_xml: qwenXml,
  glm,
  glm_plain: glmPlain,
  hunyuan,
  granite,
  phi,
  phi_functools: phiFunctools,
  command_r: commandR,
  command_r_action: commandRAction,
  smollm,
  hermes,
  llama,
} satisfies Record<string, CallFormat | WholeFormat>;

/** A name of a format of tool calls. */
export type CallFormatName = keyof typeof CALL_FORMATS;

/** The names of all formats of tool calls. */
export const callFormatNames = Object.keys(CALL_FORMATS) as CallFormatName[];

/** Returns the format with this name. */
export function callFormatOf(name: CallFormatName): CallFormat | WholeFormat {
  return CALL_FORMATS[name];
}

/**
 * Chooses the format of tool calls from the chat template, because a fine-tune may have the template of another family.
 * @param familyFormats the formats of the model's family. The first is used if no format recognizes the template but the template mentions tools
 */
export function chooseCallFormat(
  template: string,
  familyFormats: readonly CallFormatName[] = [],
): CallFormatName | undefined {
  const found = callFormatNames.find((name) => CALL_FORMATS[name].isIn(template));
  return found ?? (/\btools\b/.test(template) ? familyFormats[0] : undefined);
}

/** Returns the format of reasoning that a chat template has; undefined if it has none. */
export function chooseReasoningFormat(template: string): ReasoningFormat | undefined {
  return Object.values<ReasoningFormat>(REASONING_FORMATS).find((format) => format.isIn(template));
}
