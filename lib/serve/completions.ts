// POST /v1/completions
import type { LanguageModel } from "../generate/index.ts";
import type { Delta } from "./answer.ts";
import { checkModel, type Exchange, generating } from "./context.ts";
import { type Form, generate } from "./generate.ts";
import { joinTextLogprobs, type TextLogprobs, textLogprobs } from "./logprobs.ts";
import { promptsOf } from "./prompts.ts";
import { invalid, unsupported } from "./refusal.ts";
import { generateOptions, includesUsage, responseFormat } from "./sampling.ts";
import { completionSchema, parsed } from "./schema.ts";

/** OpenAI's default, of this endpoint alone. */
const DEFAULT_TOKENS = 16;

export async function completions(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const { model, settings } = service;
  generating(service);
  const given = parsed(completionSchema, body);
  checkModel(given.model, service);
  const { n = 1, echo = false, logprobs } = given;
  if (given.prompt === undefined) throw invalid("prompt", "a text, token ids, or an array of those", undefined);
  if (given.suffix !== undefined && given.suffix !== "") throw unsupported("suffix", "is not supported");
  if (given.best_of !== undefined && given.best_of !== n) throw unsupported("best_of", `expected n, which is ${n}`);
  if (echo && logprobs !== undefined)
    throw unsupported("echo", "log-probabilities of the prompt are not supported: expected echo or logprobs, got both");
  if ((echo || logprobs !== undefined) && !model.tokenizer)
    throw unsupported(echo ? "echo" : "logprobs", "expected a model with a tokenizer, got one without");
  const usage = includesUsage(given);
  const options = {
    ...generateOptions(given, {
      maxTokens: given.max_tokens ?? DEFAULT_TOKENS,
      limit: settings.maxTokens,
      topLogprobs: logprobs ?? 0,
    }),
    ...responseFormat(given.response_format),
  };
  const { maxChoices: most } = settings;
  const prompts = promptsOf(given.prompt, { param: "prompt", model, most, encoding: service.encoding, signal });
  let echoes: string[] = [];
  const ids = async () => {
    const all = await prompts.ids();
    if (echo) echoes = all.map((one) => model.tokenizer!.decode(one, { skipSpecialTokens: true }));
    return all;
  };
  const form = textForm(model, { logprobs, echo: (index) => echoes[Math.floor(index / n)] ?? "" });
  await generate(exchange, { count: prompts.count, ids }, options, { form, stream: given.stream === true, usage });
}

function textForm(
  { tokenizer }: LanguageModel,
  { logprobs, echo }: { logprobs: number | undefined; echo: (index: number) => string },
): Form {
  const offsets = new Map<number, number>(); // of each choice: units of the tokens so far
  const logprobsOf = (index: number, tokens: Delta["tokens"]): TextLogprobs | null => {
    if (logprobs === undefined) return null;
    const offset = offsets.get(index) ?? 0;
    const made = textLogprobs(tokens, tokenizer!, { top: logprobs > 0, offset });
    offsets.set(index, offset + made.tokens.reduce((length, token) => length + token.length, 0));
    return made;
  };
  const choice = (index: number, text: string, parts: TextLogprobs | null, finish: string | null) => ({
    index,
    text,
    logprobs: parts,
    finish_reason: finish,
  });
  return {
    id: "cmpl",
    object: "text_completion",
    chunk: "text_completion",
    opening: (index) => (echo(index) === "" ? [] : [choice(index, echo(index), null, null)]),
    more(index, { text, tokens, finishReason = null }) {
      const parts = tokens.length > 0 ? logprobsOf(index, tokens) : null;
      return text === "" && !parts && !finishReason ? [] : [choice(index, text, parts, finishReason)];
    },
    whole(index, parts) {
      const made = logprobs === undefined ? [] : parts.map((part) => logprobsOf(index, part.tokens)!);
      const text = echo(index) + parts.map((part) => part.text).join("");
      return choice(index, text, made.length > 0 ? joinTextLogprobs(made) : null, parts.at(-1)!.finishReason!);
    },
  };
}
