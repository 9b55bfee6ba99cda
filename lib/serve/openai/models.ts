// GET /v1/models and /v1/models/{model}
import type { Exchange } from "../core/context.ts";
import { sendJson } from "../http/json-answer.ts";

const entry = (id: string, { service }: Exchange) => ({
  ...{ id, object: "model", created: service.created, owned_by: "heddle" },
});

/** Lists the models in the form of OpenAI's API. */
export async function listModels(exchange: Exchange): Promise<void> {
  const data = exchange.service.models.names.map((name) => entry(name, exchange));
  sendJson(exchange.response, 200, { object: "list", data });
}

/** Shows a model in the form of OpenAI's API. An unknown name is refused with 404. */
export async function showModel(exchange: Exchange): Promise<void> {
  const name = exchange.service.models.check(exchange.parameter);
  sendJson(exchange.response, 200, entry(name, exchange));
}
