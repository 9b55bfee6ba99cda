// Serializes large JSON in small parts: vectors of thousands of texts, or log-probabilities of long answers.
import { pause } from "../../core/slices.ts";

/** Nesting depth down to which values may be large: response.output[].content[].logprobs. */
const DEPTH = 6;
/** Number of numbers, or of objects at the maximum depth, that are serialized at once. */
const [NUMBERS, OBJECTS] = [1024, 16];

/**
 * Yields the JSON of plain data in parts, none of which takes long to make.
 * The type of an array's first entry decides how many entries are serialized at once.
 */
export function* jsonParts(value: unknown, depth = 0): Generator<string, void, undefined> {
  if (typeof value !== "object" || value === null || (depth === DEPTH && !Array.isArray(value))) {
    yield JSON.stringify(value);
  } else if (!Array.isArray(value)) {
    let before = "{";
    for (const [name, entry] of Object.entries(value)) {
      if (entry === undefined) continue;
      yield `${before}${JSON.stringify(name)}:`;
      yield* jsonParts(entry, depth + 1);
      before = ",";
    }
    yield before === "{" ? "{}" : "}";
  } else if (typeof value[0] === "object" && depth < DEPTH) {
    for (const [i, entry] of value.entries()) {
      yield i === 0 ? "[" : ",";
      yield* jsonParts(entry, depth + 1);
    }
    yield "]";
  } else {
    const count = typeof value[0] === "object" ? OBJECTS : NUMBERS;
    yield "[";
    for (let i = 0; i < value.length; i += count)
      yield (i === 0 ? "" : ",") + JSON.stringify(value.slice(i, i + count)).slice(1, -1);
    yield "]";
  }
}

/** Returns the JSON of plain data as bytes, in pieces of about `size`. It yields to the event loop. @throws the signal's reason */
export async function jsonBytes(value: unknown, size: number, signal: AbortSignal): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  let text = "";
  for (const part of jsonParts(value)) {
    text += part;
    if (text.length >= size) {
      pieces.push(Buffer.from(text));
      text = "";
    }
    const paused = pause();
    if (paused === undefined) continue;
    await paused;
    signal.throwIfAborted();
  }
  pieces.push(Buffer.from(text));
  return pieces;
}
