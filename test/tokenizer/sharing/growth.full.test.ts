// Encoding time is at most O(n log n) from 64 KB to 1 MB, for every component and every text of growth.ts.
import { describe, expect, it } from "vitest";
import { adversarial, configurations, growth, MAX_GROWTH } from "./growth.ts";

describe("the time to encode a megabyte", () => {
  for (const [name, make] of Object.entries(configurations())) {
    it(`is less than ${MAX_GROWTH} times that of 64 KB: ${name}`, { timeout: 600_000 }, () => {
      const tokenizer = make();
      for (const [text, part] of Object.entries(adversarial)) {
        const times = growth(tokenizer, part, 1 << 16);
        if (times !== undefined) expect(times, text).toBeLessThan(MAX_GROWTH);
      }
    });
  }
});
