// POST /v1/completions

import type { PromptScores } from "../inference/prompt-scores.ts";
import type { LanguageModel } from "../language-model/index.ts";
import type { Delta } from "./answer.ts";
import { checkModel, type Exchange, generating } from "./context.ts";
import { type Form, generate } from "./generate.ts";
import { invalid, unsupported } from "./http-error.ts";
import { joinTextLogprobs, promptLogprobs, type TextLogprobs, textLogprobs } from "./logprobs.ts";
import { promptsOf } from "./prompts.ts";
import { generateOptions, includesUsage, responseFormat } from "./sampling.ts";
import { completionSchema, parsed } from "./schema.ts";
import { TextOffsets } from "./text-offsets.ts";

/** OpenAI's default of max_tokens, which only this endpoint has. */
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
    ...(echo && { promptLogprobs: logprobs }),
  };
  const { maxChoices: most } = settings;
  const prompts = promptsOf(given.prompt, {
    param: "prompt",
    model,
    most,
    goesOn: true,
    encoding: service.encoding,
    signal,
  });
  let [encoded, echoes]: [number[][], string[]] = [[], []];
  const ids = async () => {
    encoded = await prompts.ids();
    if (echo) echoes = encoded.map((one) => model.tokenizer!.decode(one, { skipSpecialTokens: true }));
    return encoded;
  };
  const promptOf = (index: number) => Math.floor(index / n);
  const form = textForm(model, {
    logprobs,
    echo: (index) => echoes[promptOf(index)] ?? "",
    prompt: (index) => encoded[promptOf(index)]!,
  });
  await generate(exchange, { count: prompts.count, ids }, options, { form, stream: given.stream === true, usage });
}

type Of<T> = (index: number) => T;

function textForm(
  { tokenizer }: LanguageModel,
  { logprobs, echo, prompt }: { logprobs: number | undefined; echo: Of<string>; prompt: Of<readonly number[]> },
): Form {
  const offsets = new Map<number, TextOffsets>(); // by choice
  const echoed = new Map<PromptScores, Promise<TextLogprobs>>(); // by prompt
  const known = new Map<PromptScores, TextLogprobs>();
  const offsetsOf = (index: number): TextOffsets => {
    let own = offsets.get(index);
    if (!own) {
      own = new TextOffsets(tokenizer!, { ids: prompt(index), length: echo(index).length });
      offsets.set(index, own);
    }
    return own;
  };
  const logprobsOf = (index: number, { tokens, scores }: Delta): TextLogprobs | null => {
    if (logprobs === undefined) return null;
    const before = scores && known.get(scores);
    const made = textLogprobs(tokens, tokenizer!, { top: logprobs > 0, offsets: offsetsOf(index) });
    return before ? joinTextLogprobs([before, made]) : made;
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
    async prepare(index, { scores }) {
      if (!scores || logprobs === undefined) return;
      if (!echoed.has(scores))
        echoed.set(scores, promptLogprobs(prompt(index), scores, tokenizer!, { top: logprobs > 0 }));
      known.set(scores, await echoed.get(scores)!);
    },
    // If the prompt's log-probabilities are requested, the echoed text waits for them and comes with the first token.
    opening: (index) => (echo(index) === "" || logprobs !== undefined ? [] : [choice(index, echo(index), null, null)]),
    more(index, delta) {
      const { tokens, scores, finishReason = null } = delta;
      const text = (scores ? echo(index) : "") + delta.text;
      const parts = tokens.length > 0 || scores ? logprobsOf(index, delta) : null;
      return text === "" && !parts && !finishReason ? [] : [choice(index, text, parts, finishReason)];
    },
    whole(index, parts) {
      const made = logprobs === undefined ? [] : parts.map((part) => logprobsOf(index, part)!);
      const text = echo(index) + parts.map((part) => part.text).join("");
      return choice(index, text, made.length > 0 ? joinTextLogprobs(made) : null, parts.at(-1)!.finishReason!);
    },
  };
}
