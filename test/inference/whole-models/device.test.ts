// The embedded model on the device under test (HEDDLE_DEVICE) and on one CPU thread: the same tokens and log-probabilities.
import { expect, test } from "vitest";
import { type Device, openDevice } from "../../../lib/graph/index.ts";
import { LanguageModel } from "../../../lib/language-model/index.ts";

async function say(device: Device) {
  await using model = await LanguageModel.load("default", { device, dtype: "f32" });
  expect(model.model.device.name).toBe(device.name);
  const { tokens, logprobs } = await model.complete("The capital of France is", { maxTokens: 6, temperature: 0 });
  return { text: model.tokenizer!.decode(tokens), logprobs };
}

test("the embedded model gives the same text and log-probabilities as on the CPU", async () => {
  const expected = await say(openDevice({ device: "cpu", threads: 1 }));
  const got = await say(openDevice());
  expect(expected.text).toMatch(/^ Paris/);
  expect(got.text).toBe(expected.text);
  for (const [i, logprob] of expected.logprobs.entries()) expect(got.logprobs[i]).toBeCloseTo(logprob, 3);
});
