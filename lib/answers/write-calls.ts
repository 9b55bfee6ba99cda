// Writes tool calls in the format of a model family.
import type { CallShape, ParameterShape } from "./format.ts";

/** A call. Its arguments are an object, or a text that is written unchanged. */
export interface WrittenCall {
  name: string;
  arguments: unknown;
}

/** Writes calls in the shape of a format. If an answer has a single call in this format, line breaks separate several calls. */
export function writeCalls({ begin, call, between = "\n", end }: CallShape, calls: readonly WrittenCall[]): string {
  const one = ({ name, arguments: given }: WrittenCall) =>
    call
      .map((part) => {
        if (typeof part === "string") return part;
        if ("name" in part) return part.name === "json" ? JSON.stringify(name).slice(1, -1) : name;
        if (typeof given !== "object" || given === null) return String(given ?? "{}");
        return part.arguments === "json" ? JSON.stringify(given) : parameters(part.arguments, given);
      })
      .join("");
  return `${begin}${calls.map(one).join(between)}${end}`;
}

function parameters({ before, between, after }: ParameterShape, given: object): string {
  const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
  return Object.entries(given)
    .map(([key, value]) => `${before}${key}${between}${text(value)}${after}`)
    .join("");
}
