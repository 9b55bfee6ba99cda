import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ResolvedOptions } from "../../lib/generate/options.ts";
import { Sequence } from "../../lib/generate/sequence.ts";
import { StopMatcher } from "../../lib/generate/stop.ts";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "./helpers.ts";

describe("StopMatcher", () => {
  test("holds back what may begin a stop text, and nothing else", () => {
    const matcher = new StopMatcher(["\nUser:"]);
    expect(matcher.push("Hello\nUs")).toBe("Hello");
    expect(matcher.push("ually")).toBe("\nUsually");
    expect(matcher.push("!\nUser")).toBe("!");
    expect(matcher.push(": x")).toBe("");
    expect(matcher.stopped).toBe(true);
    expect(matcher.push("more")).toBe("");
    expect(matcher.flush()).toBe("");
  });

  test("gives back what it held when nothing more comes", () => {
    const matcher = new StopMatcher(["abc"]);
    expect(matcher.push("xab")).toBe("x");
    expect(matcher.flush()).toBe("ab");
    expect(matcher.stopped).toBe(false);
  });

  test("the earliest of several wins", () => {
    const matcher = new StopMatcher(["cd", "b"]);
    expect(matcher.push("abcd")).toBe("a");
  });

  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  test("however the text is cut, the output is what comes before the first stop text", () => {
    const stops = fc.array(
      letters.filter((s) => s !== ""),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), stops, (pieces, stopTexts) => {
        const matcher = new StopMatcher(stopTexts);
        let out = "";
        // Generation ends with the piece in which a stop text is complete.
        let seen = "";
        for (const piece of pieces) {
          out += matcher.push(piece);
          seen += piece;
          if (matcher.stopped) break;
        }
        out += matcher.flush();
        const first = Math.min(...stopTexts.map((s) => seen.indexOf(s)).map((at) => (at < 0 ? seen.length : at)));
        expect(out).toBe(seen.slice(0, first));
        expect(matcher.stopped).toBe(stopTexts.some((s) => seen.includes(s)));
      }),
    );
  });
});

test("whether a hypothesis has ended is known from its end, however long it is", async () => {
  const tokenizer = await tinyTokenizer();
  const stopTexts = ["café", " 日本 1", "x".repeat(60), "\u0300"];
  const options = { stopTokens: new Set(), stopTexts, seed: 0, maxTokens: 3000 } as unknown as ResolvedOptions;
  let pushed = 0;
  const counting = {
    decoder: (how: object) => {
      const decoder = tokenizer.decoder(how);
      const push = (id: number) => {
        pushed++;
        return decoder.push(id);
      };
      return { push, flush: () => decoder.flush() };
    },
  } as unknown as Tokenizer;
  const of = { index: 0, sample: 0, contextLength: 4096 };
  const prompt = [...tokenizer.encode("The cat saw")];
  const ends = (tokens: readonly number[]) =>
    new Sequence(prompt, options, { ...of, tokenizer: counting }).endsWith(tokens);
  const random = Array.from({ length: 200 }, (_, i) => (i * i * 31 + i * 7) % tokenizer.vocabSize);
  for (const end of ["a café", " and 日本 1", "x".repeat(60), "e\u0300", "nothing"]) {
    const all = [...random, ...tokenizer.encode(end)];
    for (let length = 1; length <= all.length; length++) {
      const tokens = all.slice(0, length);
      const decoder = tokenizer.decoder({ skipSpecialTokens: true, after: prompt });
      const text = tokens.map((id) => decoder.push(id)).join("");
      const expected = stopTexts.some((stop) => text.includes(stop));
      expect([end, length, ends(tokens)]).toEqual([end, length, expected]);
      if (expected) break;
    }
  }
  const long = Array.from({ length: 2000 }, (_, i) => random[i % 200]!);
  pushed = 0;
  expect(ends(long)).toBe(false);
  expect(pushed).toBeLessThan(300);
});
