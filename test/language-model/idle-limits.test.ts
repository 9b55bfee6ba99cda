// Reasoning budgets state in idleSteps for how many steps they change no logits. No continuation of the answer may contradict that.
import { describe, expect, test } from "vitest";
import { harmony } from "../../lib/answers/formats/harmony.ts";
import { REASONING_FORMATS } from "../../lib/answers/reasoning.ts";
import { messageLimit } from "../../lib/language-model/chat/message-limit.ts";
import { reasoningLimit } from "../../lib/language-model/chat/reasoning-limit.ts";
import type { LogitProcessor } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";

const FRAGMENTS = ["The cat ", "sea", "日本", "\n", "analysis", "final", "commentary to=functions.now "];
const formats = Object.entries(REASONING_FORMATS);
const marks = formats.flatMap(([, { open, close }]) => [open, close]);
const tokenizer = await Tokenizer.train([...FRAGMENTS, ...marks], {
  vocabSize: 400,
  specialTokens: [...harmony.marks],
});
const encode = (text: string) => [
  ...tokenizer.encode(text, { addSpecialTokens: false, addPrefixSpace: false, allowSpecial: true }),
];

/** A generator of numbers below 1 (Marsaglia's xorshift). */
function randomFrom(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * Applies a processor to an answer of random fragments, and expects that it changes logits in no step that it declared idle. Returns the
 * steps in which it changed logits, and its idle ranges.
 */
function check(limit: LogitProcessor, fragments: readonly string[], random: () => number) {
  const ids = [5, 6];
  const claims: { at: number; until: number }[] = [];
  const used: number[] = [];
  let written: number[] = [];
  while (ids.length < 90) {
    if (written.length === 0) written = encode(fragments[Math.floor(random() * fragments.length)]!);
    const context = { ids: [...ids], promptLength: 2, index: 0 };
    claims.push({ at: ids.length, until: ids.length + limit.idleSteps!(context) });
    const logits = new Float32Array(tokenizer.vocabSize);
    limit(logits, context);
    if (logits.some((value) => value !== 0)) {
      used.push(ids.length);
      ids.push(logits.indexOf(0));
    } else ids.push(written.shift()!);
  }
  for (const { at, until } of claims)
    expect(
      used.filter((step) => step >= at && step < until),
      tokenizer.decode(ids),
    ).toEqual([]);
  return { used, claims };
}

describe("the idle steps of a reasoning budget", () => {
  test.each(formats)("are correct for random answers: %s", (_, format) => {
    let acted = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const random = randomFrom(seed);
      const most = Math.floor(random() * 12);
      const opening = seed % 2 ? "within" : "before";
      const limit = reasoningLimit(tokenizer, format, { promptEnd: opening, maxTokens: most })!;
      const body = [...FRAGMENTS, ...FRAGMENTS, format.close];
      const { used, claims } = check(limit, opening === "before" && seed % 4 ? [format.open, ...body] : body, random);
      acted += used.length;
      // Once reasoning is closed, the budget never acts again.
      expect(claims.at(-1)!.until).toBe(Number.POSITIVE_INFINITY);
    }
    expect(acted).toBeGreaterThan(60);
  });

  test("are correct for random messages of gpt-oss", () => {
    const messages = [
      "<|channel|>analysis<|message|>",
      "<|channel|>final<|message|>",
      "<|channel|>commentary<|message|>",
      "<|end|><|start|>assistant",
    ];
    let [acted, queued] = [0, 0];
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomFrom(seed);
      const most = Math.floor(random() * 8);
      const limit = messageLimit(tokenizer, harmony.reasoning, most);
      const { used, claims } = check(limit, [...messages, ...messages, ...FRAGMENTS], random);
      acted += used.length;
      queued += claims.filter(({ at, until }) => until - at > 1).length;
    }
    expect(acted).toBeGreaterThan(300);
    // Decoding can queue a step ahead only if at least two steps are idle.
    expect(queued).toBeGreaterThan(5000);
  });
});
