import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BeamTexts } from "../../lib/inference/beam/beam-texts.ts";
import type { ResolvedOptions } from "../../lib/inference/generation-options.ts";
import { Sequence } from "../../lib/inference/sequence.ts";
import { StopMatcher } from "../../lib/inference/stop.ts";
import type { TokenDecoder, Tokenizer } from "../../lib/tokenizer/index.ts";
import { tinyTokenizer } from "./helpers.ts";

describe("StopMatcher", () => {
  test("holds back only text that may begin a stop string", () => {
    const matcher = new StopMatcher(["\nUser:"]);
    expect(matcher.push("Hello\nUs")).toBe("Hello");
    expect(matcher.push("ually")).toBe("\nUsually");
    expect(matcher.push("!\nUser")).toBe("!");
    expect(matcher.push(": x")).toBe("");
    expect(matcher.stopped).toBe(true);
    expect(matcher.push("more")).toBe("");
    expect(matcher.flush()).toBe("");
  });

  test("releases the held text when nothing follows", () => {
    const matcher = new StopMatcher(["abc"]);
    expect(matcher.push("xab")).toBe("x");
    expect(matcher.flush()).toBe("ab");
    expect(matcher.stopped).toBe(false);
  });

  test("stops at the earliest of several stop strings", () => {
    const matcher = new StopMatcher(["cd", "b"]);
    expect(matcher.push("abcd")).toBe("a");
  });

  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  test("outputs the text before the first stop string, however the text is split", () => {
    const stops = fc.array(
      letters.filter((s) => s !== ""),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(fc.array(letters, { maxLength: 8 }), stops, (pieces, stopTexts) => {
        const matcher = new StopMatcher(stopTexts);
        let out = "";
        // Generation ends with the piece that completes a stop text.
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

test("a beam hypothesis ends where a stop string is complete, and decodes each token once", async () => {
  const tokenizer = await tinyTokenizer();
  const stopTexts = ["café", " 日本 1", "x".repeat(60), "\u0300"];
  const noIds: ReadonlySet<number> = new Set();
  const options = {
    stopTokens: noIds,
    stopTexts,
    stopConditions: [],
    seed: 0,
    maxTokens: 3000,
    visibleTokens: new Map(),
  };
  // Counts the tokens that are decoded. BeamTexts has no counter, so the sequence has a tokenizer whose decoders count.
  let pushed = 0;
  const counted = (decoder: TokenDecoder): TokenDecoder => {
    const push = (id: number) => {
      pushed++;
      return decoder.push(id);
    };
    return { push, flush: () => decoder.flush(), fork: () => counted(decoder.fork()) } as TokenDecoder;
  };
  const counting = { decoder: (how: object) => counted(tokenizer.decoder(how)) } as unknown as Tokenizer;
  const prompt = [...tokenizer.encode("The cat saw")];
  const of = { index: 0, sample: 0, contextLength: 4096, tokenizer: counting };
  const sequence = new Sequence(prompt, options as unknown as ResolvedOptions, of);
  const random = Array.from({ length: 200 }, (_, i) => (i * i * 31 + i * 7) % tokenizer.vocabSize);
  for (const end of ["a café", " and 日本 1", "x".repeat(60), "e\u0300", "nothing"]) {
    const texts = new BeamTexts(sequence);
    const all = [...random, ...tokenizer.encode(end)];
    const decoder = tokenizer.decoder({ skipSpecialTokens: true, after: prompt });
    let [before, text]: [number[], string] = [[], ""];
    pushed = 0;
    for (const [i, id] of all.entries()) {
      const tokens = [...before, id];
      text += decoder.push(id);
      const expected = stopTexts.some((stop) => text.includes(stop));
      expect([end, i, texts.ends(tokens, before)]).toEqual([end, i, expected]);
      before = tokens;
      if (expected) break;
    }
    expect(pushed).toBe(before.length);
  }
});
