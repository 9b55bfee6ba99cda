// POST /v1/responses/input_tokens
import { promptIdsOf } from "../../core/chat.ts";
import { holdingPlace } from "../../core/compute.ts";
import type { Exchange } from "../../core/context.ts";
import { runSliced } from "../../core/sliced-work.ts";
import { sendJson } from "../../http/json-answer.ts";
import { reading, renamed, requestOf } from "./create.ts";
import { responseParameters } from "./schema.ts";

/** Counts the tokens of a request's conversation, as the model would read them. */
export function countInputTokens(exchange: Exchange): Promise<void> {
  const given = responseParameters(exchange.body);
  const { service, signal, response } = exchange;
  return service.models.use(given.model, signal, async (served) => {
    const request = requestOf(exchange, served, given);
    const { messages } = await runSliced(exchange, given.input, () => reading(exchange, given));
    try {
      const { length } = await holdingPlace(exchange, () => promptIdsOf(exchange, served, { ...request, messages }));
      sendJson(response, 200, { object: "response.input_tokens", input_tokens: length });
    } catch (error) {
      throw renamed(error);
    }
  });
}
