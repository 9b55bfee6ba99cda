// Nothing waits for what may never come: texts that a source does not give, and files that are none.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { expectError } from "../../formats/helpers.ts";

it("training hears the signal while a text is waited for", async () => {
  let told = 0;
  // Fires once the text is waited for, however long a busy machine takes until then.
  const waited = new AbortController();
  const never = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        setTimeout(() => waited.abort(), 20);
        return new Promise<never>(() => {});
      },
      return: () => {
        told++;
        return Promise.reject(new Error("too late"));
      },
    }),
  };
  const { signal } = waited;
  await expectError(() => Tokenizer.train(never, { vocabSize: 300, signal }), "ABORTED", /Tokenizer\.train: aborted/);
  await sleep(10);
  expect(told).toBe(1);

  async function* some() {
    for (let i = 0; i < 3; i++) yield "a text that is learned from ".repeat(9);
    await new Promise(() => {});
  }
  const later = AbortSignal.timeout(20);
  await expectError(() => Tokenizer.train(some(), { vocabSize: 300, signal: later }), "ABORTED", /aborted/);
}, 20_000);

it("training refuses what is no source of texts", async () => {
  for (const given of [undefined, null, 5, "text", {}, () => ["text"]])
    await expectError(
      () => Tokenizer.train(given as never, { vocabSize: 300 }),
      "INVALID_ARGUMENT",
      /texts: expected an iterable of strings/,
    );
});
