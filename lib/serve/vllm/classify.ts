// POST /v1/classify and /classify
import { randomUUID } from "node:crypto";
import { isObject } from "../../core/is-object.ts";
import { classificationOf, probabilitiesOf } from "../../language-model/embed/classify.ts";
import { type ClassifierInput, logitsOfTexts } from "../../language-model/embed/classify-texts.ts";
import { isPrompt } from "../../language-model/prompt.ts";
import { classifierOf } from "../../models/heads.ts";
import { computing, MAX_TEXTS } from "../core/compute.ts";
import { type Exchange, sendAnswer } from "../core/context.ts";
import { seconds } from "../core/seconds.ts";
import { invalid } from "../http/http-error.ts";
import { classifySchema, parsed } from "./schema.ts";

const EXPECTED = `a text, token ids, a pair { text, text_pair }, or 1 to ${MAX_TEXTS} of those`;

/** Answers POST /v1/classify. */
export function classify(exchange: Exchange): Promise<void> {
  const given = parsed(classifySchema, exchange.body);
  const { service, signal } = exchange;
  const inputs = inputsOf(given.input);
  return service.models.use(given.model, signal, async ({ model, name, adapters }) => {
    const classifier = classifierOf(model.config, "sequence");
    const options = { truncation: given.truncation, signal, adapters };
    const { logits, tokens } = await computing(exchange, () => logitsOfTexts(model, inputs, options));
    exchange.record({ model: name, promptTokens: tokens, completionTokens: 0 });
    await sendAnswer(exchange, {
      id: `classify-${randomUUID()}`,
      object: "list",
      created: seconds(),
      model: name,
      data: logits.map((row, index) => {
        const { label, value } = classificationOf(classifier, row);
        const probs = value === undefined ? probabilitiesOf(classifier, row) : [value];
        return { index, label, probs, num_classes: classifier.labels.length };
      }),
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  });
}

/** Returns the inputs of a request. @throws Refusal 400 */
function inputsOf(given: unknown): ClassifierInput[] {
  const isList = Array.isArray(given) && typeof given[0] !== "number";
  const list: readonly unknown[] = isList ? given : [given];
  if (list.length === 0 || list.length > MAX_TEXTS) throw invalid("input", EXPECTED, given);
  return list.map((one, i) => {
    if (isPrompt(one) && one.length > 0) return one;
    if (isObject(one) && typeof one.text === "string" && typeof one.text_pair === "string")
      return { text: one.text, textPair: one.text_pair };
    throw invalid(isList ? `input[${i}]` : "input", EXPECTED, one);
  });
}
