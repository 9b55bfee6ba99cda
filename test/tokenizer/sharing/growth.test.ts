// No text is worse than n log n: a part of what growth.full.test.ts tries, on shorter texts.
import { describe, expect, it } from "vitest";
import { adversarial, configurations, growth } from "./growth.ts";

describe("sixteen times the text takes about sixteen times as long", () => {
  for (const [index, [name, make]] of Object.entries(configurations()).entries()) {
    it(name, () => {
      const tokenizer = make();
      const texts = Object.entries(adversarial);
      // Of each configuration a third of the texts: all of them come by.
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
