// Prompts for fill-in-the-middle: the model writes the text between a prefix and a suffix.
import { fimTokens, type Infill, infillIds } from "../../language-model/infill.ts";
import { unsupported } from "../http/http-error.ts";
import type { Exchange } from "./context.ts";
import { generating, type Served } from "./models.ts";
import type { Prompts } from "./prompts.ts";

/**
 * Returns the prompt, and the tokens that end the middle in addition to the model's stop tokens.
 * @param param name of the request's parameter that asks for fill-in-the-middle
 * @throws Refusal 400 for a model without fill-in-the-middle tokens
 */
export function infillPrompts(
  { service, signal }: Exchange,
  served: Served,
  { param, ...text }: Infill & { param: string },
): { prompts: Prompts; ends: readonly number[] } {
  generating(served);
  const { tokenizer } = served.model;
  const tokens = tokenizer && fimTokens(tokenizer);
  if (!tokens) throw unsupported(param, `${served.name} has no fill-in-the-middle tokens`);
  const encoded = async () => (await infillIds(tokenizer, text, signal)).ids;
  const ids = async () => [await service.encoding.run(encoded, signal)];
  return { prompts: { count: 1, ids }, ends: tokens.ends };
}
