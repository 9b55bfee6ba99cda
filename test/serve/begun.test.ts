// Answers whose beginning is part of the request. The tests use fake sequences instead of a model.
import { expect, test } from "vitest";
import type { Scheduled } from "../../lib/inference/shared-scheduler.ts";
import { AnswerForm } from "../../lib/language-model/chat/answer-format.ts";
import { deltas, wholeAnswer } from "../../lib/serve/core/answer.ts";
import { Answers } from "../../lib/serve/core/generate.ts";
import { tinyTokenizer } from "../inference/helpers.ts";

const begun = { tokens: 1, text: "<thi" };

/** Returns a fake sequence that yields the pieces. */
function scheduled(pieces: readonly object[]): Scheduled {
  const sequence = { ids: [1, 2], promptLength: 2, options: { stopTokens: new Set() }, answer: {}, generated: 0 };
  async function* stream() {
    for (const piece of pieces) {
      sequence.generated++;
      yield [piece];
    }
  }
  const ended = pieces.length === 0 && { finishReason: "length" };
  return { sequence: Object.assign(sequence, ended), stream: stream() } as unknown as Scheduled;
}

test("a given beginning that ends like an opening mark of reasoning is text if no tokens follow", async () => {
  const tokenizer = await tinyTokenizer();
  const template = "{% for m in messages %}<think>{{ m.reasoning_content }}</think>{{ m.content }}{% endfor %}";
  const form = new AnswerForm({ tokenizer, config: { modelType: "llama" } }, { template });
  const reading = { parser: () => form.parser({ prompt: [1] }), named: false };
  expect(form.hasReasoning).toBe(true);
  const parts = [];
  for await (const part of deltas(scheduled([]), { reading, begun })) parts.push(part.text);
  expect(parts).toEqual(["", "<thi"]);
  expect(await wholeAnswer(deltas(scheduled([]), { reading, begun }))).toMatchObject({
    text: begun.text,
    finishReason: "length",
  });
});

test("the time to the first token does not count the given beginning", async () => {
  const pieces = [
    { text: "b", token: 3 },
    { text: "c", token: 4, finishReason: "length" },
  ];
  const { signal } = new AbortController();
  const times: (number | undefined)[] = [];
  const after = () => answers.times(0).firstTokenMs;
  const answers: Answers = new Answers([scheduled(pieces)], { n: 1, signal, begun });
  await answers.read(async (parts) => {
    for await (const _ of parts) times.push(after());
  });
  expect(times).toEqual([undefined, expect.any(Number), times[1]]);
});

test("an answer without tokens has no time to the first token", async () => {
  const answers = new Answers([scheduled([])], { n: 1, signal: new AbortController().signal, begun });
  await answers.read(wholeAnswer);
  expect(answers.times(0)).toEqual({});
});
