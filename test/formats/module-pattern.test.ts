// Keys of PEFT's rank_pattern and alpha_pattern. The expected matches are those of Python's re.match(rf"(.*\.)?({key})$", name).
import { describe, expect, test } from "vitest";
import { modulePattern } from "../../lib/formats/module-pattern.ts";

const names = [0, 1, 10, 11].flatMap((layer) =>
  ["q", "k", "v"].map((c) => `model.layers.${layer}.self_attn.${c}_proj`),
);

/** The layers and projections that a key matches, such as 0q. */
const matched = (key: string) => {
  const value = modulePattern({ [key]: 1 }, "alpha_pattern");
  return names.filter((name) => value(name) === 1).map((name) => name.replace(/\D*(\d+).*\.(.)_proj/, "$1$2"));
};

/** Returns a name that counts how often its characters are read. A matcher reads a character for each possible next state. */
function countsReads(text: string) {
  let reads = 0;
  const charCodeAt = (at: number) => {
    reads++;
    return text.charCodeAt(at);
  };
  return { name: { length: text.length, charCodeAt } as string, reads: () => reads };
}

describe("modulePattern", () => {
  test.each([
    ["q_proj", "0q 1q 10q 11q"],
    ["proj", ""],
    [String.raw`layers\.1\.self_attn\.q_proj$`, "1q"],
    ["layers.1.self.attn.q_proj", "1q"],
    ["^model.layers.0.self_attn.k_proj", "0k"],
    ["^layers.0.self_attn.k_proj", ""],
    [String.raw`layers\.\d\.self_attn\.q_proj`, "0q 1q"],
    [String.raw`layers\.\d+\.self_attn\.q_proj`, "0q 1q 10q 11q"],
    [String.raw`^model\.layers\.1[01]\..*`, "10q 10k 10v 11q 11k 11v"],
    ["layers.(0|1[1-9]).self_attn.[^qk]_proj", "0v 11v"],
    ["layers.1{2}.*_proj", "11q 11k 11v"],
    [".*?layers.1?0.*(?:q|v)_proj", "0q 0v 10q 10v"],
    ["(q|k", "refused"],
    ["(?!.*layers.0).*q_proj", "refused"],
    [String.raw`\bq_proj`, "refused"],
    [String.raw`(q)\1`, "refused"],
    ["q*+", "refused"],
    ["(?i)Q_proj", "refused"],
    ["a)|(b", "refused"],
    ["(){1000000000}", "refused"],
    ["((((){2000}){2000}){2000}){2000}", "refused"],
    ["((q{100}){100}){100}", "refused"],
    ["(".repeat(2000), "refused"],
  ])("matches the modules that PEFT matches, or rejects an unsupported or invalid key: %s", (key, expected) => {
    if (expected === "refused")
      expect(() => matched(key)).toThrow(
        expect.objectContaining({
          code: "UNSUPPORTED",
          message: expect.stringContaining(`got ${JSON.stringify(key.slice(0, 200))}`),
        }),
      );
    else expect(matched(key).join(" ")).toBe(expected);
  });

  test("takes the value of the first key that matches", () => {
    const value = modulePattern({ "layers\\.1\\d\\..*": 1, q_proj: 2, ".*": 3 }, "alpha_pattern");
    expect(names.map((name) => value(name))).toEqual([2, 3, 3, 2, 3, 3, 1, 1, 1, 1, 1, 1]);
  });

  test.each(["(a+)+b", "(a|a)*b", "(.*)*b", `${".*".repeat(300)}b`])("matches in linear time: %s", (key) => {
    const value = modulePattern({ [key]: 1 }, "alpha_pattern");
    for (const [end, result] of [
      ["", undefined],
      ["b", 1],
    ] as const) {
      const [short, long] = [500, 4000].map((count) => countsReads(`${"a".repeat(count)}${end}`));
      for (const { name } of [short!, long!]) expect(value(name)).toBe(result);
      expect(short!.reads()).toBeGreaterThan(500);
      expect(long!.reads()).toBeLessThan(8.1 * short!.reads());
    }
  });

  test("limits the total size of the expressions, but not the number of keys that are plain names", () => {
    const keys = (count: number, key: (i: number) => string) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [key(i), i]));
    expect(() =>
      modulePattern(
        keys(1000, (i) => `(layers.${i}).*`),
        "rank_pattern",
      ),
    ).toThrow("rank_pattern: expected");
    const value = modulePattern(
      keys(5000, (i) => `model.layers.${i}.mlp.up_proj`),
      "rank_pattern",
    );
    expect(value("model.layers.4999.mlp.up_proj")).toBe(4999);
  });
});
