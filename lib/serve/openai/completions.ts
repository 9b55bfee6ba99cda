// POST /v1/completions

import type { z } from "zod";
import type { PromptScores } from "../../inference/prompt-scores.ts";
import type { LanguageModel } from "../../language-model/index.ts";
import type { Delta } from "../core/answer.ts";
import type { Exchange } from "../core/context.ts";
import { generate } from "../core/generate.ts";
import { generating, type Served } from "../core/models.ts";
import { promptsOf } from "../core/prompts.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import { type Form, sendForm } from "./form.ts";
import { joinTextLogprobs, promptLogprobs, type TextLogprobs, textLogprobs } from "./logprobs.ts";
import { generateOptions, includesUsage, responseFormat } from "./sampling.ts";
import { completionSchema, parsed } from "./schema.ts";
import { TextOffsets } from "./text-offsets.ts";

/** OpenAI's default of max_tokens, which only this endpoint has. */
const DEFAULT_TOKENS = 16;

/** Answers POST /v1/completions. */
export function completions(exchange: Exchange): Promise<void> {
  const given = parsed(completionSchema, exchange.body);
  const { models } = exchange.service;
  return models.use(given.model, exchange.signal, (served) => complete(exchange, served, given));
}

async function complete(exchange: Exchange, served: Served, given: z.infer<typeof completionSchema>): Promise<void> {
  const { service, signal } = exchange;
  const { settings } = service;
  const { model } = served;
  generating(served);
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
  const { maxChoices: maxPrompts } = settings;
  const prompts = promptsOf(given.prompt, {
    param: "prompt",
    model,
    maxPrompts,
    isContinued: true,
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
  const how = { form, model: served.name, stream: given.stream === true, usage };
  await generate(exchange, served, { prompts: { count: prompts.count, ids }, options }, (answers) =>
    sendForm(exchange, answers, how),
  );
}

type Of<T> = (index: number) => T;

function textForm(
  { tokenizer }: LanguageModel,
  { logprobs, echo, prompt }: { logprobs: number | undefined; echo: Of<string>; prompt: Of<readonly number[]> },
): Form {
  const offsets = new Map<number, TextOffsets>(); // by choice
  // Log-probabilities of the echoed prompts. Choices of one prompt share its scores, so they are formatted once.
  const echoed = new Map<PromptScores, Promise<TextLogprobs>>();
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
    *whole(index, parts) {
      const made: TextLogprobs[] = [];
      for (const part of logprobs === undefined ? [] : parts) {
        made.push(logprobsOf(index, part)!);
        yield;
      }
      const text = echo(index) + parts.map((part) => part.text).join("");
      return choice(index, text, made.length > 0 ? joinTextLogprobs(made) : null, parts.at(-1)!.finishReason!);
    },
  };
}
