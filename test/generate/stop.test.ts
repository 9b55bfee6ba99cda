import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StopMatcher } from "../../lib/generate/stop.ts";

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
