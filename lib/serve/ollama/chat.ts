// POST /api/chat and /api/generate
import type { z } from "zod";
import { answerChat } from "../core/chat.ts";
import type { Exchange } from "../core/context.ts";
import { generate } from "../core/generate.ts";
import { infillPrompts } from "../core/infill.ts";
import { generating, type Served } from "../core/models.ts";
import { withPrefill } from "../core/prefill.ts";
import { promptsOf } from "../core/prompts.ts";
import { runSliced } from "../core/sliced-work.ts";
import { answerFormOf } from "../core/tool-use.ts";
import { invalid, unsupported } from "../http/http-error.ts";
import { sendJson } from "../http/json-answer.ts";
import { convertedMessages } from "./messages.ts";
import { checkKeepAlive, generateOptions, mayThink, modelName, thinkVariables } from "./request.ts";
import { chatSchema, type Generating, generateSchema, parsed } from "./schema.ts";
import { type Form, headOf, NOTHING, type Said, sendOllama, Times } from "./send.ts";

const messageFields = ({ text, reasoning, calls }: Said) => ({
  message: {
    role: "assistant",
    content: text,
    ...(reasoning !== "" && { thinking: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  },
});

const responseFields = ({ text, reasoning }: Said) => ({
  response: text,
  ...(reasoning !== "" && { thinking: reasoning }),
});

/** Answers POST /api/chat. */
export function chat(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const given = parsed(chatSchema, body);
  const times = new Times();
  return service.models.use(modelName(service.models, given.model), signal, async (served) => {
    times.load();
    const form = formOf(served, given, { fields: messageFields, times });
    const { messages = [] } = given;
    if (messages.length === 0) return sendLoaded(exchange, served, given, form);
    const converted = await runSliced(exchange, messages, () => convertedMessages(messages));
    const answerForm = answerFormOf(served.model, { tools: given.tools });
    const conversation = withPrefill(converted, mayThink(answerForm, given.think));
    const request = {
      messages: [...conversation.messages],
      prefill: conversation.prefill,
      tools: given.tools,
      variables: thinkVariables(answerForm, given.think),
      options: generateOptions(exchange, served.model, given),
    };
    await answerChat(exchange, served, request, (answers) => sendOllama(exchange, answers, form));
  });
}

/** Answers POST /api/generate. */
export function generateText(exchange: Exchange): Promise<void> {
  const { service, body, signal } = exchange;
  const given = parsed(generateSchema, body);
  const times = new Times();
  return service.models.use(modelName(service.models, given.model), signal, async (served) => {
    times.load();
    const form = formOf(served, given, { fields: responseFields, times });
    const { prompt = "", suffix = "" } = given;
    if (suffix !== "") return fillIn(exchange, served, { ...given, prompt, suffix }, form);
    if (prompt === "") return sendLoaded(exchange, served, given, form);
    await (given.raw === true ? continueText : answerPrompt)(exchange, served, { ...given, prompt }, form);
  });
}

type Prompted = z.infer<typeof generateSchema> & { prompt: string };

/** Answers a prompt as the message of a user. */
function answerPrompt(exchange: Exchange, served: Served, given: Prompted, form: Form): Promise<void> {
  const request = {
    messages: [
      ...(given.system ? [{ role: "system", content: given.system }] : []),
      { role: "user", content: given.prompt },
    ],
    variables: thinkVariables(answerFormOf(served.model), given.think),
    options: generateOptions(exchange, served.model, given),
  };
  return answerChat(exchange, served, request, (answers) => sendOllama(exchange, answers, form));
}

/** Continues a prompt without the chat template. */
function continueText(exchange: Exchange, served: Served, given: Prompted, form: Form): Promise<void> {
  generating(served);
  if (given.system) throw invalid("system", "none with raw, because a raw prompt uses no chat template", given.system);
  if (given.think !== undefined)
    throw unsupported("think", "expected none with raw, because a raw prompt uses no chat template");
  const { encoding } = exchange.service;
  const how = {
    param: "prompt",
    model: served.model,
    maxPrompts: 1,
    isContinued: true,
    encoding,
    signal: exchange.signal,
  };
  const generation = {
    prompts: promptsOf(given.prompt, how),
    options: generateOptions(exchange, served.model, given),
  };
  return generate(exchange, served, generation, (answers) => sendOllama(exchange, answers, form));
}

/** Writes the text between a prompt and a suffix. */
function fillIn(exchange: Exchange, served: Served, given: Prompted & { suffix: string }, form: Form): Promise<void> {
  const { prompt: prefix, suffix, system, think, raw } = given;
  if (system) throw invalid("system", "none with a suffix, because fill-in-the-middle uses no chat template", system);
  if (think)
    throw unsupported("think", "expected none with a suffix, because fill-in-the-middle uses no chat template");
  if (raw === true)
    throw unsupported("raw", "expected none with a suffix, because fill-in-the-middle writes its own prompt");
  const { prompts, ends } = infillPrompts(exchange, served, { param: "suffix", prefix, suffix });
  const options = generateOptions(exchange, served.model, given);
  const stop = [options.stop ?? [], ends].flat(2);
  return generate(exchange, served, { prompts, options: { ...options, stop } }, (answers) =>
    sendOllama(exchange, answers, form),
  );
}

function formOf(
  { name, model }: Served,
  { model: asked, stream, logprobs }: Generating,
  rest: Pick<Form, "fields" | "times">,
): Form {
  return {
    model: asked ?? name,
    stream: stream !== false,
    logprobs: logprobs === true ? model.tokenizer : undefined,
    ...rest,
  };
}

/** Answers a request without a prompt, which only loads the model. */
async function sendLoaded({ response }: Exchange, served: Served, given: Generating, form: Form): Promise<void> {
  generating(served);
  checkKeepAlive(given);
  const last = { done: true, done_reason: "load", ...form.times.durations };
  sendJson(response, 200, { ...headOf(form.model), ...form.fields(NOTHING), ...last });
}
