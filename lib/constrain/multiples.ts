// Multiples of integers, as automata over their decimal digits.
import type { Dfa, Edge, Machine } from "./regular.ts";

/** Multiples between bounds that are listed one by one; of more, an automaton goes by what their digits leave. */
const MOST_LISTED = 4096;

/** Multiples of an integer, by what their digits so far leave: a state for each rest, too many of a large one's to be made before they are reached. */
export function multiplesOf(modulus: number): Machine {
  // States: -2 the beginning, -1 after the sign, else the rest.
  const onwards = (rest: number): Edge[] =>
    Array.from({ length: 10 }, (_, d) => [0x30 + d, 0x30 + d, (rest * 10 + d) % modulus]);
  return {
    start: -2,
    accepts: (state) => state === 0,
    edgesOf: (state) =>
      state < 0 ? [...(state === -2 ? [[0x2d, 0x2d, -1] as const] : []), ...onwards(0)] : onwards(state),
    states: `states for the multiples of ${modulus} (a minimum and a maximum that leave at most ${MOST_LISTED} of them take few)`,
  };
}

/**
 * Lists the common multiples of some integers between two bounds, in decimal, or returns undefined if there are too many. Excludes values that
 * JSON.parse would round to a neighbour.
 */
export function listedMultiples(moduli: readonly number[], least: bigint, most: bigint): string[] | undefined {
  let step = 1n;
  const farthest = least < -most ? -least : most;
  for (const modulus of moduli) {
    const other = BigInt(modulus);
    step = (step / greatestCommonDivisor(step, other)) * other;
    // Zero is the only multiple left, whatever the other divisors are.
    if (step > farthest) break;
  }
  const first = least > 0n ? (least + step - 1n) / step : -(-least / step);
  const last = most < 0n ? -((-most + step - 1n) / step) : most / step;
  if (last - first >= BigInt(MOST_LISTED)) return undefined;
  const out: string[] = [];
  for (let value = first * step; value <= last * step; value += step)
    if (BigInt(Number(value)) === value) out.push(String(value));
  return out;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}

/** The automaton of some texts of ASCII: those that go on alike share what they go on with. */
export function listDfa(texts: readonly string[]): Dfa {
  const accepting: boolean[] = [];
  const edges: Edge[][] = [];
  const made = new Map<string, number>();
  const stateOf = (rests: readonly string[]): number => {
    const byFirst = new Map<number, string[]>();
    for (const rest of rests) {
      if (rest === "") continue;
      const first = rest.charCodeAt(0);
      const group = byFirst.get(first);
      if (group) group.push(rest.slice(1));
      else byFirst.set(first, [rest.slice(1)]);
    }
    const out = [...byFirst].map(([byte, after]): Edge => [byte, byte, stateOf(after)]);
    const ends = rests.includes("");
    const key = `${ends};${out.join(";")}`;
    let state = made.get(key);
    if (state === undefined) {
      state = edges.push(out) - 1;
      accepting.push(ends);
      made.set(key, state);
    }
    return state;
  };
  const start = stateOf(texts);
  return { start, accepting, edges };
}
