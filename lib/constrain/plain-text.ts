// Automata of raw text, which has no quotes or escapes.
import type { Slices } from "../core/slices.ts";
import type { Work } from "./limits.ts";
import { ANYTHING } from "./pattern.ts";
import { type Dfa, dfaInSlices, type Edge, intersectInSlices, type Machine } from "./regular.ts";

/** Returns the automaton of texts of `least` to `most` characters that do not contain `mark`. */
export function* textWithout(
  mark: string,
  where: string,
  work: Work,
  { least = 0, most = Number.POSITIVE_INFINITY } = {},
): Slices<Dfa> {
  const any = { kind: "repeat", part: { kind: "set", set: ANYTHING }, least, most } as const;
  return yield* intersectInSlices(yield* dfaInSlices(any, "plain", where, work), without(mark), where, work);
}

/**
 * Returns the machine of byte sequences that do not contain `mark`. A state is the length of the longest prefix of `mark` that is a suffix
 * of the bytes read so far (Knuth, Morris and Pratt 1977).
 */
function without(mark: string): Machine {
  const bytes = Buffer.from(mark);
  const edges = Array.from(bytes, (_, state): Edge[] => {
    const next = new Map<number, number>();
    for (const byte of new Set(bytes)) {
      const read = Buffer.concat([bytes.subarray(0, state), Buffer.of(byte)]);
      let length = Math.min(read.length, bytes.length);
      while (length > 0 && !read.subarray(read.length - length).equals(bytes.subarray(0, length))) length--;
      next.set(byte, length);
    }
    const out: Edge[] = [];
    let from = 0;
    for (const byte of [...next.keys()].sort((a, b) => a - b)) {
      if (byte > from) out.push([from, byte - 1, 0]);
      if (next.get(byte)! < bytes.length) out.push([byte, byte, next.get(byte)!]);
      from = byte + 1;
    }
    if (from <= 0xff) out.push([from, 0xff, 0]);
    return out;
  });
  return { start: 0, accepts: () => true, edgesOf: (state) => edges[state]!, states: "states of its automaton" };
}
