// Encoding time is at most O(n log n): a subset of growth.full.test.ts on shorter texts.
import { describe, expect, it } from "vitest";
import { adversarial, configurations, growth, MAX_GROWTH } from "./growth.ts";

/** An encoder that does `operations(length)` operations, at about the speed of a tokenizer. */
const encoderOf = (operations: (length: number) => number) => {
  let state = 1;
  const encode = (text: string) => {
    for (let left = operations(text.length); left > 0; left--) state = (state * 48_271) % 2_147_483_647;
    return Uint32Array.of(state);
  };
  return { encode };
};

it("the measurement distinguishes O(n log n) from faster growth, also for texts that take less than a millisecond", () => {
  for (const cost of [1, 8]) {
    expect(
      growth(
        encoderOf((n) => cost * n * Math.log2(n)),
        "a",
        1 << 10,
      ),
    ).toBeLessThan(MAX_GROWTH);
    expect(
      growth(
        encoderOf((n) => (cost * n ** 1.5) / 8),
        "a",
        1 << 10,
      ),
    ).toBeGreaterThan(MAX_GROWTH);
    expect(
      growth(
        encoderOf((n) => (cost * n ** 2) / 512),
        "a",
        1 << 10,
      ),
    ).toBeGreaterThan(MAX_GROWTH);
  }
});

describe("the time to encode sixteen times the text", () => {
  for (const [index, [name, make]] of Object.entries(configurations()).entries()) {
    it(`is less than ${MAX_GROWTH} times as long: ${name}`, () => {
      const tokenizer = make();
      const texts = Object.entries(adversarial);
      // Each configuration encodes a third of the texts. Three successive configurations cover all texts.
      let measured = 0;
      for (const [text, part] of texts.filter((_, at) => at % 3 === index % 3)) {
        const times = growth(tokenizer, part, 1 << 13);
        if (times === undefined) continue;
        measured++;
        expect(times, text).toBeLessThan(MAX_GROWTH);
      }
      expect(measured).toBeGreaterThan(0);
    });
  }
});
