// POST /tokenize and /detokenize
import { inSlices, type Slices } from "../../core/slices.ts";
import { isTokenId } from "../../inference/logit-bias.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { LONG_TEXT } from "../../tokenizer/text-codec.ts";
import { promptIdsOf } from "../core/chat.ts";
import { holdingPlace } from "../core/compute.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import type { Served } from "../core/models.ts";
import { invalid, Refusal, unsupported } from "../http/http-error.ts";
import { detokenizeSchema, parsed, tokenizeSchema } from "./schema.ts";

/** Returns the tokens of a text, or those of a conversation up to the answer. */
export function tokenize(exchange: Exchange): Promise<void> {
  const given = parsed(tokenizeSchema, exchange.body);
  const { prompt, messages } = given;
  if ((prompt === undefined) === (messages === undefined))
    throw new Refusal(
      400,
      `prompt: expected either a prompt or messages, got ${prompt === undefined ? "none" : "both"}`,
      {
        param: "prompt",
        code: "invalid_value",
      },
    );
  const { service, signal } = exchange;
  return service.models.use(given.model, signal, async (served) => {
    const { model } = served;
    const tokenizer = tokenizerOf(served);
    const addSpecialTokens = given.add_special_tokens ?? true;
    const text = async () => tokenizer.encodeAsync(prompt!, { addSpecialTokens, allowSpecial: true, signal });
    const conversation = async () => {
      const { tools, chat_template_kwargs: variables } = given;
      return promptIdsOf(exchange, served, { messages: messages!, tools, variables, options: {} });
    };
    const isLong = prompt !== undefined && prompt.length >= LONG_TEXT;
    const ids = await holdingPlace<ArrayLike<number>>(exchange, () =>
      messages ? conversation() : isLong ? service.encoding.run(text, signal) : text(),
    );
    const tokens = Array.from(ids);
    await sendAnswer(exchange, {
      count: tokens.length,
      max_model_len: model.contextLength,
      tokens,
      ...(given.return_token_strs && { token_strs: tokens.map((id) => tokenizer.idToToken(id) ?? "") }),
      ...(given.return_token_texts && {
        token_texts: await inSlices(textsOf(tokenizer, tokens), "tokens", signal),
      }),
    });
  });
}

/** Maximum number of ids in a request. They are decoded synchronously. */
const MAX_IDS = 1 << 17;

/** Returns the text of tokens, special ones included. */
export function detokenize(exchange: Exchange): Promise<void> {
  const given = parsed(detokenizeSchema, exchange.body);
  const { service, signal } = exchange;
  if (given.tokens.length > MAX_IDS) throw invalid("tokens", `at most ${MAX_IDS} token ids`, given.tokens);
  return service.models.use(given.model, signal, async (served) => {
    const { tokens } = given;
    const { vocabSize } = served.model.config;
    const wrong = tokens.findIndex((id) => !isTokenId(id, vocabSize));
    if (wrong >= 0) throw invalid(`tokens[${wrong}]`, `a token id below ${vocabSize}`, tokens[wrong]);
    const prompt = await holdingPlace(exchange, async () => tokenizerOf(served).decode(tokens));
    await sendAnswer(exchange, { prompt });
  });
}

/**
 * Returns each token's text as it is in the middle of a text. Decoding a token is slow, so equal ids are decoded once.
 */
function* textsOf(tokenizer: Tokenizer, ids: readonly number[]): Slices<string[]> {
  const texts = new Map<number, string>();
  for (const id of ids) {
    if (texts.has(id)) continue;
    texts.set(id, tokenizer.tokenText(id));
    yield;
  }
  return ids.map((id) => texts.get(id)!);
}

function tokenizerOf({ model, name }: Served): Tokenizer {
  if (!model.tokenizer) throw unsupported("model", `${name} has no tokenizer`);
  return model.tokenizer;
}
