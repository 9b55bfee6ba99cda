// Training can be aborted while it waits for a text, and rejects invalid sources.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { expectError } from "../../formats/helpers.ts";

it("training can be aborted while it waits for a text", async () => {
  let closed = 0;
  // Fires once training waits for the text, however slow the machine is.
  const waited = new AbortController();
  const never = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        setTimeout(() => waited.abort(), 20);
        return new Promise<never>(() => {});
      },
      return: () => {
        closed++;
        return Promise.reject(new Error("too late"));
      },
    }),
  };
  const { signal } = waited;
  await expectError(() => Tokenizer.train(never, { vocabSize: 300, signal }), "ABORTED", /Tokenizer\.train: aborted/);
  await sleep(10);
  expect(closed).toBe(1);

  async function* some() {
    for (let i = 0; i < 3; i++) yield "a text that is learned from ".repeat(9);
    await new Promise(() => {});
  }
  const later = AbortSignal.timeout(20);
  await expectError(() => Tokenizer.train(some(), { vocabSize: 300, signal: later }), "ABORTED", /aborted/);
}, 20_000);

it("training rejects an invalid source of texts", async () => {
  for (const given of [undefined, null, 5, "text", {}, () => ["text"]])
    await expectError(
      () => Tokenizer.train(given as never, { vocabSize: 300 }),
      "INVALID_ARGUMENT",
      /texts: expected an iterable of strings/,
    );
});
