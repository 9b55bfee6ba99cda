// The embedded model on the device under test (HEDDLE_DEVICE) beside the CPU on one thread: the same words, with the same confidence.
import { expect, test } from "vitest";
import { type Device, openDevice } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";

async function say(device: Device) {
  await using model = await LanguageModel.load("default", { device, dtype: "f32" });
  expect(model.model.device.name).toBe(device.name);
  const { tokens, logprobs } = await model.complete("The capital of France is", { maxTokens: 6, temperature: 0 });
  return { text: model.tokenizer!.decode(tokens), logprobs };
}

test("the embedded model says the same", async () => {
  const expected = await say(openDevice({ device: "cpu", threads: 1 }));
  const got = await say(openDevice());
  expect(expected.text).toMatch(/^ Paris/);
  expect(got.text).toBe(expected.text);
  for (const [i, logprob] of expected.logprobs.entries()) expect(got.logprobs[i]).toBeCloseTo(logprob, 3);
});
