// POST /v1/score and /score
import { randomUUID } from "node:crypto";
import { pairScores } from "../../language-model/embed/rerank.ts";
import { computing, MAX_TEXTS } from "../core/compute.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { seconds } from "../core/seconds.ts";
import { invalid } from "../http/http-error.ts";
import { parsed, scoreSchema } from "./schema.ts";

const listOf = (given: string | readonly string[]) => (typeof given === "string" ? [given] : given);

/** Scores one text against each of several, or the pairs of two lists of equal length. */
export function score(exchange: Exchange): Promise<void> {
  const given = parsed(scoreSchema, exchange.body);
  const [first, second] = [listOf(given.text_1), listOf(given.text_2)];
  if (first.length !== 1 && first.length !== second.length)
    throw invalid("text_2", `${first.length} texts, as many as text_1 has`, given.text_2);
  if (second.length > MAX_TEXTS) throw invalid("text_2", `at most ${MAX_TEXTS} texts`, given.text_2);
  const pairs = second.map((textPair, i) => ({ text: first[first.length === 1 ? 0 : i]!, textPair }));
  const { service, signal } = exchange;
  return service.models.use(given.model, signal, async ({ model, name, adapters }) => {
    const { label, truncation } = given;
    const options = { label, truncation, signal, adapters };
    const { scores, tokens } = await computing(exchange, () => pairScores(model, pairs, options));
    exchange.record({ model: name, promptTokens: tokens, completionTokens: 0 });
    await sendAnswer(exchange, {
      id: `score-${randomUUID()}`,
      object: "list",
      created: seconds(),
      model: name,
      data: scores.map((value, index) => ({ index, object: "score", score: value })),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  });
}
