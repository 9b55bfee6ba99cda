// POST /infill: the text between a prefix and a suffix, in the form of llama.cpp's server
import { z } from "zod";
import { isObject } from "../../core/is-object.ts";
import { flag, text, whole } from "../../core/schema-parts.ts";
import { type Delta, wholeAnswer } from "../core/answer.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { type Answers, generate, type Usage } from "../core/generate.ts";
import { infillPrompts } from "../core/infill.ts";
import type { Served } from "../core/models.ts";
import { parameters } from "../core/parameters.ts";
import { EventStream } from "../http/event-stream.ts";
import { Refusal, refusalOf } from "../http/http-error.ts";
import { generateOptions } from "../openai/sampling.ts";
import { samplingShape } from "../openai/schema.ts";

const { temperature, top_k, top_p, min_p, seed, stop, presence_penalty, frequency_penalty, stream } = samplingShape;

const infillSchema = z.looseObject({
  model: text().optional(),
  input_prefix: text().optional(),
  input_suffix: text().optional(),
  input_extra: z
    .custom<{ text: string; filename?: string }[]>(
      (v) => Array.isArray(v) && v.length <= 256 && v.every(isExtra),
      "at most 256 objects {text, filename}",
    )
    .optional(),
  prompt: text().optional(),
  n_predict: whole(-1, 2 ** 31 - 1).optional(),
  repeat_penalty: samplingShape.repetition_penalty,
  ignore_eos: flag().optional(),
  ...{ temperature, top_k, top_p, min_p, seed, stop, presence_penalty, frequency_penalty, stream },
});

/** Parameters that editors send and that have no effect here. */
const IGNORED = new Set([
  "cache_prompt",
  "id_slot",
  "n_indent",
  "response_fields",
  "samplers",
  "t_max_predict_ms",
  "t_max_prompt_ms",
]);

function isExtra(value: unknown): boolean {
  if (!isObject(value) || typeof value.text !== "string") return false;
  return value.filename === undefined || typeof value.filename === "string";
}

/** Answers POST /infill: completes the text between a prefix and a suffix. */
export function infill(exchange: Exchange): Promise<void> {
  const given = parameters(infillSchema, exchange.body, { ignored: IGNORED, unsupported: {} });
  if (given.input_prefix === undefined && given.input_suffix === undefined)
    throw new Refusal(400, "input_prefix: expected a prefix or a suffix, got none", {
      param: "input_prefix",
      code: "invalid_value",
    });
  const { models } = exchange.service;
  return models.use(given.model, exchange.signal, (served) => fill(exchange, served, given));
}

async function fill(exchange: Exchange, served: Served, given: z.infer<typeof infillSchema>): Promise<void> {
  const { model } = served;
  const { input_prefix: prefix = "", input_suffix: suffix = "", input_extra: extra, prompt: middle, n_predict } = given;
  const { prompts, ends } = infillPrompts(exchange, served, { param: "model", prefix, suffix, middle, extra });
  const maxTokens = n_predict === undefined || n_predict < 0 ? undefined : n_predict;
  const { repeat_penalty: repetition_penalty, ...sampling } = given;
  const options = {
    ...generateOptions(
      { ...sampling, seed: sampling.seed === -1 ? undefined : sampling.seed, repetition_penalty },
      { maxTokens: maxTokens ?? model.contextLength, limit: exchange.service.settings.maxTokens, topLogprobs: 0 },
    ),
    stop: [given.stop ?? [], ends].flat(2),
  };
  await generate(exchange, served, { prompts, options }, (answers) =>
    given.stream ? sendStream(exchange, answers, served) : sendWhole(exchange, answers, served),
  );
}

interface Ending {
  finishReason: Delta["finishReason"];
  stopText: string | undefined;
  /** The text that was not sent before. */
  content: string;
  hasNewLine: boolean;
  usage: Usage;
}

/** Returns the last part of an answer. Unlike llama.cpp's, it lacks `prompt`, `generation_settings`, `timings` and `id_slot`. */
function lastPart({ name, model }: Served, { content, hasNewLine, finishReason, stopText, usage }: Ending): object {
  const { promptTokens, completionTokens, cachedTokens } = usage;
  return {
    index: 0,
    content,
    tokens: [],
    model: name,
    stop: true,
    stop_type: finishReason === "length" ? "limit" : stopText === undefined ? "eos" : "word",
    stopping_word: stopText ?? "",
    has_new_line: hasNewLine,
    truncated: finishReason === "length" && promptTokens + completionTokens > model.contextLength,
    tokens_predicted: completionTokens,
    tokens_evaluated: promptTokens,
    tokens_cached: cachedTokens,
  };
}

async function sendWhole(exchange: Exchange, answers: Answers, served: Served): Promise<void> {
  const [answer] = await answers.read(wholeAnswer);
  exchange.signal.throwIfAborted();
  const { text: content, finishReason, stopText } = answer!;
  const ending = { content, hasNewLine: content.includes("\n"), finishReason, stopText, usage: answers.usage };
  await sendAnswer(exchange, lastPart(served, ending));
}

async function sendStream(exchange: Exchange, answers: Answers, served: Served): Promise<void> {
  const { response, signal, service, dialect } = exchange;
  const events = new EventStream(response, { stallTimeout: service.settings.stallTimeout, signal });
  try {
    await answers.read(async (parts) => {
      let hasNewLine = false;
      for await (const { text: content, finishReason, stopText } of parts) {
        hasNewLine ||= content.includes("\n");
        if (content !== "") await events.send([{ index: 0, content, stop: false }]);
        if (!finishReason) continue;
        await events.end(lastPart(served, { content: "", hasNewLine, finishReason, stopText, usage: answers.usage }));
      }
    });
  } catch (error) {
    events.fail(dialect.errorBody(refusalOf(error, dialect.parameterNames), exchange.requestId));
    throw error;
  }
}
