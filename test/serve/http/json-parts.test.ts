// Large JSON answers are serialized in slices.
import { expect, test } from "vitest";
import { jsonBytes, jsonParts } from "../../../lib/serve/http/json-parts.ts";

const entry = { token: "é", logprob: -0.5, bytes: [195, 169] };
const content = (length: number) =>
  Array.from({ length }, () => ({ ...entry, top_logprobs: Array.from({ length: 20 }, () => entry) }));
const vector = (length: number) => Array.from({ length }, (_, i) => Math.fround(Math.sin(i)));
const vectors = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ object: "embedding", index, embedding: vector(5000) }));
const texts = Array.from({ length: 5000 }, () => '"a\u2028\ud800');

const values: [string, unknown][] = [
  ["small", { a: 1, b: null, c: undefined, d: [], e: {}, f: [[]], g: [null, { x: undefined }], h: "\ud83d", "": true }],
  ["chat", { choices: [{ message: { content: null }, logprobs: { content: content(300) } }, { logprobs: null }] }],
  ["completion", { choices: [{ logprobs: { tokens: texts, top_logprobs: texts.map(() => ({ é: -1 })) } }] }],
  ["vectors", { data: vectors(40), usage: { total_tokens: 1 } }],
];

test.each(values)("serializing in parts equals JSON.stringify for %s", async (_, value) => {
  const whole = JSON.stringify(value);
  expect([...jsonParts(value)].join("")).toBe(whole);
  for (const part of jsonParts(value)) expect(part.length).toBeLessThan(64 << 10);
  const pieces = await jsonBytes(value, 1000, new AbortController().signal);
  expect(Buffer.concat(pieces).equals(Buffer.from(whole))).toBe(true);
});

test("serializing does not block the event loop and can be aborted", async () => {
  const value = { data: vectors(400) }; // about 40 MB
  const controller = new AbortController();
  setImmediate(() => controller.abort(new Error("gone")));
  await expect(jsonBytes(value, 1 << 16, controller.signal)).rejects.toThrow("gone");
});
