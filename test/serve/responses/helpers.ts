// Helpers for the tests of OpenAI's Responses API.
import { expect } from "vitest";
import type { Json } from "../helpers.ts";

export const RESPONSES = "/v1/responses";

export const tool = {
  type: "function",
  name: "sea",
  parameters: { type: "object", properties: {}, additionalProperties: false },
};

/** Parses a stream of named events, and checks their names and numbers. */
export function namedEvents(text: string): Json[] {
  expect(text.endsWith("\n\n")).toBe(true);
  const events = text.slice(0, -2).split("\n\n");
  return events.map((event, i) => {
    const [, name, data] = /^event: ([\w.]+)\ndata: (.+)$/.exec(event) ?? [];
    const value = JSON.parse(data!);
    expect([value.type, value.sequence_number]).toEqual([name, i]);
    return value;
  });
}
