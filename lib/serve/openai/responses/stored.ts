// GET and DELETE /v1/responses/{id}, and GET /v1/responses/{id}/input_items
import { isWhole, wholeRange } from "../../../core/is-whole.ts";
import type { Exchange } from "../../core/context.ts";
import { sendAnswer } from "../../core/context.ts";
import { invalid, Refusal, unsupported } from "../../http/http-error.ts";
import { sendJson } from "../../http/json-answer.ts";
import { shownId } from "./items.ts";
import { ownerOf, type StoredResponse, storeOf } from "./store.ts";

/** Shows a stored response. A response that is not stored is refused with 404. */
export async function showResponse(exchange: Exchange): Promise<void> {
  if (exchange.query.get("stream") === "true") throw unsupported("stream", "is not supported for a stored response");
  const { body, output } = storedOf(exchange);
  await sendAnswer(exchange, { ...body, output });
}

/** Deletes a stored response. A response that is not stored is refused with 404. */
export function deleteResponse(exchange: Exchange): void {
  const { parameter: id, response } = exchange;
  if (!storeOf(exchange).delete(ownerOf(exchange), id)) throw notStored(id);
  sendJson(response, 200, { id, object: "response", deleted: true });
}

/** Lists the conversation before the response, newest first unless `order` is `asc`. */
export async function listInputItems(exchange: Exchange): Promise<void> {
  const { query } = exchange;
  const { input } = storedOf(exchange);
  const limit = Number(query.get("limit") ?? 20);
  if (!isWhole(limit, 1, 100)) throw invalid("limit", wholeRange(1, 100), query.get("limit"));
  const order = query.get("order") ?? "desc";
  if (order !== "asc" && order !== "desc") throw invalid("order", "asc or desc", order);
  const all = order === "asc" ? input : input.toReversed();
  const after = query.get("after");
  const start = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
  if (after !== null && start === 0) throw invalid("after", "the id of one of the items", after);
  const data = all.slice(start, start + limit);
  const [first_id, last_id] = [data[0]?.id ?? null, data.at(-1)?.id ?? null];
  await sendAnswer(exchange, { object: "list", data, first_id, last_id, has_more: start + limit < all.length });
}

function storedOf(exchange: Exchange): StoredResponse {
  const { parameter: id } = exchange;
  const stored = storeOf(exchange).get(ownerOf(exchange), id);
  if (!stored) throw notStored(id);
  return stored;
}

function notStored(id: string): Refusal {
  return new Refusal(404, `response: expected the id of a stored response, got ${shownId(id)}`, {
    param: "response",
    code: "response_not_found",
  });
}
