// Compiling a response format that takes long does not block the event loop, whichever API compiles it.
import { afterAll, describe, expect, test } from "vitest";
import { compiledAhead, type ResponseFormat } from "../../lib/constrain/index.ts";
import type { GenerateOptions } from "../../lib/language-model/index.ts";
import { completeSeeded } from "../../lib/language-model/rollout-generate.ts";
import { leastOf, longestTurn, saysTurns } from "../helpers/clock.ts";
import { tinyModel, tinyTokenizer } from "./helpers.ts";

const MAX_MS = 75;
const listed = (count: number, make: (i: number) => unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, make(i)]));
const schema = (of: object): ResponseFormat => ({ type: "json_schema", schema: { ...of } });
const regex = (pattern: string): ResponseFormat => ({ type: "regex", pattern });

/** Changes a format but not its matches, so that each try misses the cache of compiled formats. */
let tries = 0;
const afresh = (format: ResponseFormat): ResponseFormat => {
  const mark = "(?:)".repeat(++tries);
  if (format.type === "regex") return regex(format.pattern + mark);
  return format.type === "json_schema" && "schema" in format
    ? schema({ ...(format.schema as object), title: mark })
    : format;
};
const longest = (format: ResponseFormat, work: (of: GenerateOptions) => Promise<unknown>) =>
  leastOf(MAX_MS, () => longestTurn(() => work({ responseFormat: afresh(format) }).catch(() => undefined)), 4);

describe.skipIf(!saysTurns)("compiling a slow format", () => {
  test.each<[string, ResponseFormat]>([
    ["a pattern that takes too many steps", regex("(a{1,200}){1,200}")],
    ["a pattern of thousands of states", regex("(a|b)*a(a|b){12}")],
    ["many patterns", schema({ properties: listed(3000, (i) => ({ type: "string", pattern: `^.{0,50}x${i}` })) })],
    ["many values", schema({ enum: Array.from({ length: 20_000 }, (_, i) => `value ${i}`) })],
    ["many properties", schema({ properties: listed(16_000, (i) => ({ const: i })) })],
    ["many items", schema({ type: "array", prefixItems: Array.from({ length: 5000 }, (_, i) => ({ minimum: i })) })],
  ])("does not block the event loop: %s", async (_, format) => {
    expect(await longest(format, compiledAhead)).toBeLessThan(MAX_MS);
  });
});

describe.skipIf(!saysTurns)("a slow format compiled by any API", async () => {
  const model = await tinyModel({ tokenizer: await tinyTokenizer() });
  afterAll(() => model.dispose());
  const slow = regex("(a{1,200}){1,200}");
  test.each<[string, (options: GenerateOptions) => Promise<unknown>]>([
    ["complete", (options) => model.complete("a", options)],
    ["generate", async (options) => model.generate("a", options)],
    [
      "a session",
      async (options) => {
        await using session = model.session();
        return await session.complete("a", options);
      },
    ],
    [
      "a batcher",
      async (options) => {
        await using batcher = model.batcher();
        return await batcher.complete("a", options);
      },
    ],
    ["rollouts", (options) => completeSeeded(model, [{ ids: [1], seed: 1 }], options)],
  ])("does not block the event loop: %s", async (_, work) => {
    await expect(work({ responseFormat: afresh(slow) })).rejects.toThrow(/^responseFormat\.pattern: /);
    expect(await longest(slow, work)).toBeLessThan(MAX_MS);
  });
});
