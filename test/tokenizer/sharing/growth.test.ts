// Encoding time is at most O(n log n): a subset of growth.full.test.ts on shorter texts.
import { describe, expect, it } from "vitest";
import { adversarial, configurations, growth } from "./growth.ts";

describe("sixteen times the text takes about sixteen times as long", () => {
  for (const [index, [name, make]] of Object.entries(configurations()).entries()) {
    it(name, () => {
      const tokenizer = make();
      const texts = Object.entries(adversarial);
      // A third of the texts per configuration; together they cover all texts.
      let measured = 0;
      for (const [text, part] of texts.filter((_, at) => at % 3 === index % 3)) {
        const times = growth(tokenizer, part, 1 << 13);
        if (times === undefined) continue;
        measured++;
        expect(times, text).toBeLessThan(80);
      }
      expect(measured).toBeGreaterThan(0);
    });
  }
});
