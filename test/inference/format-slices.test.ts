// Compiling a response format that takes long does not block the event loop, whichever API compiles it.
import { afterAll, describe, expect, test } from "vitest";
import { compiledAhead, type ResponseFormat } from "../../lib/constrain/index.ts";
import { SLICE_MS } from "../../lib/core/slices.ts";
import type { GenerateOptions } from "../../lib/language-model/index.ts";
import { completeSeeded } from "../../lib/language-model/rollout-generate.ts";
import { leastOf, longestTurn, saysTurns } from "../helpers/clock.ts";
import { tinyModel, tinyTokenizer } from "./helpers.ts";

/**
 * Maximum length of a turn. A slice ends at the first pause after SLICE_MS, and the factor is for steps without a pause and for slow machines.
 * A whole compilation takes up to 400 ms (`work` in lib/constrain/limits.ts).
 */
const MAX_MS = 25 * SLICE_MS;
const listed = (count: number, make: (i: number) => unknown) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, make(i)]));
const schema = (of: object): ResponseFormat => ({ type: "json_schema", schema: { ...of } });
const regex = (pattern: string): ResponseFormat => ({ type: "regex", pattern });

let tries = 0;
/** Changes a format but not its matches, so that each try misses the cache of compiled formats. */
const afresh = (format: ResponseFormat): ResponseFormat => {
  const mark = "(?:)".repeat(++tries);
  if (format.type === "regex") return regex(format.pattern + mark);
  return format.type === "json_schema" && "schema" in format
    ? schema({ ...(format.schema as object), title: mark })
    : format;
};
const COMPILES = /^compiled$/;
const TOO_MUCH_WORK = /^schema: expected at most \d+ units of work to compile it/;
/** The longest turn of a compilation, which must end as `expected` says: compiled, or with an error message. */
const longest = (format: ResponseFormat, work: (of: GenerateOptions) => Promise<unknown>, expected: RegExp) =>
  leastOf(
    MAX_MS,
    () =>
      longestTurn(async () => {
        const outcome = await work({ responseFormat: afresh(format) }).then(
          () => "compiled",
          ({ message }: Error) => message,
        );
        expect(outcome).toMatch(expected);
      }),
    4,
  );

describe.skipIf(!saysTurns)("compiling a slow format", () => {
  const patterns = listed(3000, (i) => ({ type: "string", pattern: `^.{0,50}x${i}` }));
  const items = Array.from({ length: 5000 }, (_, i) => ({ minimum: i }));
  test.each<[string, ResponseFormat, RegExp]>([
    ["a pattern that takes too many steps", regex("(a{1,200}){1,200}"), /^responseFormat\.pattern: /],
    ["a pattern of thousands of states", regex("(a|b)*a(a|b){12}"), COMPILES],
    ["many patterns", schema({ properties: patterns }), TOO_MUCH_WORK],
    ["many values", schema({ enum: Array.from({ length: 20_000 }, (_, i) => `value ${i}`) }), COMPILES],
    [
      "many properties",
      schema({ properties: listed(16_000, (i) => ({ const: i })) }),
      /^schema: .* states of its automaton/,
    ],
    ["many items", schema({ type: "array", prefixItems: items }), TOO_MUCH_WORK],
  ])("does not block the event loop: %s", async (_, format, expected) => {
    expect(await longest(format, compiledAhead, expected)).toBeLessThan(MAX_MS);
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
    expect(await longest(slow, work, /^responseFormat\.pattern: /)).toBeLessThan(MAX_MS);
  });
});
