// The reasoning budget covers all reasoning messages of a gpt-oss answer together.
import { describe, expect, test } from "vitest";
import { harmony } from "../../lib/answers/formats/harmony.ts";
import { messageLimit } from "../../lib/language-model/chat/message-limit.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { read } from "../answers/helpers.ts";

const THOUGHT = "The cat saw the sea. ";
const BEGIN = "<|channel|>analysis<|message|>";
const FINAL = "<|channel|>final<|message|>";
const NEXT = "<|start|>assistant";

const tokenizer = await Tokenizer.train([THOUGHT, "analysis final commentary assistant to=functions.now", "日本語"], {
  vocabSize: 340,
  specialTokens: [...harmony.marks],
});
const encode = (text: string) => [
  ...tokenizer.encode(text, { addSpecialTokens: false, addPrefixSpace: false, allowSpecial: true }),
];

/** Simulates a model that writes the messages in order and repeats the last. If a message is closed early, it continues with the next. */
function answerOf(messages: readonly string[], most: number, length = 120) {
  const limit = messageLimit(tokenizer, harmony.reasoning, most);
  const ids = [5, 6];
  let [message, at] = [0, 0];
  const wanted = () => encode(messages[Math.min(message, messages.length - 1)]!);
  while (ids.length < length) {
    const own = wanted()[at];
    if (own === undefined) break;
    const logits = new Float32Array(tokenizer.vocabSize);
    logits[own] = 1;
    limit(logits, { ids: [...ids], promptLength: 2, index: 0 });
    const next = logits.indexOf(Math.max(...logits));
    ids.push(next);
    at += 1;
    const text = tokenizer.decode(ids.slice(2));
    if (text.endsWith(NEXT)) [message, at] = [message + 1, 0];
    // The budget has forced the header of the final message. The model continues after it.
    else if (text.endsWith(`${NEXT}${FINAL}`)) {
      message = messages.length - 1;
      at = encode(FINAL).length;
    }
  }
  const text = tokenizer.decode(ids.slice(2));
  return { raw: text, ...read({ whole: harmony, withCalls: true }, [text]) };
}

const tokensOf = (text: string) => encode(text).length;
const long = `${BEGIN}${THOUGHT.repeat(20)}`;
const final = `${FINAL}It is blue.`;

describe("a budget of reasoning", () => {
  test.each([0, 1, 4])("a budget of reasoning of %i tokens closes one message, and the answer follows", (most) => {
    const { raw, reasoning, text } = answerOf([long, final], most);
    expect(reasoning).toBe(tokenizer.decode(encode(THOUGHT.repeat(20)).slice(0, most)));
    expect(raw).toBe(`${BEGIN}${reasoning}<|end|>${NEXT}${final}`);
    expect(text).toBe("It is blue.");
  });

  test.each([0, 1, 4])(
    "a budget of reasoning of %i tokens holds for a model that opens another message of reasoning",
    (most) => {
      const { raw, reasoning, text } = answerOf([long, long, long, final], most);
      expect(reasoning).toBe(tokenizer.decode(encode(THOUGHT.repeat(20)).slice(0, most)));
      expect(raw).toBe(`${BEGIN}${reasoning}<|end|>${NEXT}${BEGIN}<|end|>${NEXT}${final}`);
      expect(text).toBe("It is blue.");
    },
  );

  test("counts the tokens of all messages of reasoning", () => {
    const short = `${BEGIN}The cat<|end|>${NEXT}`;
    const { reasoning, text } = answerOf([short, short, long, final], 2 * tokensOf("The cat") + 3);
    expect(reasoning.startsWith("The catThe cat")).toBe(true);
    expect(reasoning.slice("The catThe cat".length)).toBe(tokenizer.decode(encode(THOUGHT).slice(0, 3)));
    expect(text).toBe("It is blue.");
  });

  test("does not change an answer whose reasoning messages stay within it, also with text between them", () => {
    const parts = [
      `${BEGIN}The cat<|end|>${NEXT}`,
      `<|channel|>commentary<|message|>${THOUGHT.repeat(3)}<|end|>${NEXT}`,
      `${BEGIN}the sea<|end|>${NEXT}`,
      final,
    ];
    const most = tokensOf("The cat") + tokensOf("the sea") + 1;
    expect(answerOf(parts, most).raw).toBe(parts.join(""));
  });

  test("does not limit the arguments of a call, which may be in the channel of reasoning", () => {
    const call = `<|channel|>analysis to=functions.now <|constrain|>json<|message|>{"a": "${THOUGHT.repeat(3)}"}<|call|>`;
    const { raw, calls } = answerOf([`${BEGIN}The cat<|end|>${NEXT}`, call], tokensOf("The cat"));
    expect(raw.endsWith(call)).toBe(true);
    expect(calls).toEqual([["now", `{"a":"${THOUGHT.repeat(3)}"}`]]);
  });

  test("lets the model call a tool after its reasoning is closed", () => {
    const call = '<|channel|>commentary to=functions.now <|constrain|>json<|message|>{"a": 1}<|call|>';
    const { calls } = answerOf([long, call], 3);
    expect(calls).toEqual([["now", '{"a":1}']]);
  });

  test("does not cut a character", () => {
    for (let most = 1; most < 9; most++)
      expect(answerOf([`${BEGIN}${"日本語".repeat(20)}`, final], most).raw).not.toContain("\ufffd");
  });
});
