// templateValue converts plain data to values of @huggingface/jinja, in slices that do not block the event loop.
import fc from "fast-check";
import { expect, test } from "vitest";
import { atOnce } from "../../../lib/core/slices.ts";
import type { RuntimeValue } from "../../../lib/tokenizer/chat/jinja/repr.ts";
import { runtimeOf, templateValue } from "../../../lib/tokenizer/chat/jinja/template-values.ts";
import { leastOf, longestTurn, saysTurns } from "../../helpers/clock.ts";
import { byteLevelJson, fromJson } from "../samples.ts";

/** The types and contents of a value. */
function contentsOf({ type, value }: RuntimeValue): unknown {
  if (Array.isArray(value)) return [type, value.map(contentsOf)];
  if (value instanceof Map) return [type, [...value].map(([key, item]) => [key, contentsOf(item)])];
  return [type, value];
}

test("plain data are converted to the same values as by @huggingface/jinja", () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true, maxDepth: 4 }), (plain) => {
      expect(contentsOf(atOnce(templateValue(plain)))).toEqual(contentsOf(runtimeOf(plain)));
    }),
    { numRuns: 500 },
  );
});

test.skipIf(!saysTurns)("a conversation of very many values does not block the event loop", async () => {
  const tokenizer = fromJson(byteLevelJson([]));
  const template = "{{ messages | length }} {{ tools | length }}";
  const keys = Object.fromEntries(Array.from({ length: 16_000 }, (_, i) => [`n${i}`, i]));
  const messages = [{ role: "user", content: Array.from({ length: 30_000 }, () => ({})) }];
  const tools = Array.from({ length: 3 }, () => keys);
  const longest = await leastOf(50, () =>
    longestTurn(async () => {
      const { text } = await tokenizer.applyChatTemplateAsync(messages, { template, tools });
      expect(text).toBe("1 3");
    }),
  );
  expect(longest).toBeLessThan(50);
});
