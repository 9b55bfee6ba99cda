// GET /v1/models and /v1/models/{model} in Anthropic's form
import type { Exchange } from "../core/context.ts";
import { sendJson } from "../http/json-answer.ts";

const entry = (id: string, { service }: Exchange) => ({
  type: "model",
  id,
  display_name: id,
  created_at: new Date(service.created * 1000).toISOString(),
});

/** Lists the models in the form of Anthropic's API. */
export function listModels(exchange: Exchange): void {
  const data = exchange.service.models.names.map((name) => entry(name, exchange));
  const page = { has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
  sendJson(exchange.response, 200, { data, ...page });
}

/** Shows a model in the form of Anthropic's API. An unknown name is refused with 404. */
export function showModel(exchange: Exchange): void {
  sendJson(exchange.response, 200, entry(exchange.service.models.check(exchange.parameter), exchange));
}
