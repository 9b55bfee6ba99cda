// Automata over decimal digits that accept the multiples of integers.
import type { Dfa, Edge, Machine } from "./regular.ts";

/** Maximum number of multiples between bounds to list one by one. For more, an automaton tracks the remainder. */
const MAX_LISTED = 4096;

/**
 * Returns a machine that accepts the multiples of an integer. It has a state per remainder. The states are computed on demand, because a
 * large integer has too many.
 */
export function multiplesOf(modulus: number): Machine {
  // States: -2 at the beginning, -1 after the sign, else the remainder so far.
  const onwards = (rest: number): Edge[] =>
    Array.from({ length: 10 }, (_, d) => [0x30 + d, 0x30 + d, (rest * 10 + d) % modulus]);
  return {
    start: -2,
    accepts: (state) => state === 0,
    edgesOf: (state) =>
      state < 0 ? [...(state === -2 ? [[0x2d, 0x2d, -1] as const] : []), ...onwards(0)] : onwards(state),
    states: `states for the multiples of ${modulus} (few are needed if the minimum and the maximum leave at most ${MAX_LISTED} multiples)`,
  };
}

/**
 * Lists the common multiples of `moduli` from `least` to `most` as decimal texts. Returns undefined if there are too many. Excludes values
 * that JSON.parse would round to a neighbor.
 */
export function listedMultiples(moduli: readonly number[], least: bigint, most: bigint): string[] | undefined {
  let step = 1n;
  const farthest = least < -most ? -least : most;
  for (const modulus of moduli) {
    const other = BigInt(modulus);
    step = (step / greatestCommonDivisor(step, other)) * other;
    // Zero is now the only common multiple between the bounds.
    if (step > farthest) break;
  }
  const first = least > 0n ? (least + step - 1n) / step : -(-least / step);
  const last = most < 0n ? -((-most + step - 1n) / step) : most / step;
  if (last - first >= BigInt(MAX_LISTED)) return undefined;
  const out: string[] = [];
  for (let value = first * step; value <= last * step; value += step)
    if (BigInt(Number(value)) === value) out.push(String(value));
  return out;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestCommonDivisor(b, a % b);
}

/** Returns a number as digits * 10 ** power, exactly as JSON.stringify writes it. */
function decimalOf(value: number): { digits: bigint; power: number } {
  const [mantissa = "", exponent = "0"] = String(value).split("e");
  const [whole = "", decimals = ""] = mantissa.split(".");
  return { digits: BigInt(whole + decimals), power: Number(exponent) - decimals.length };
}

/** Whether a number is a multiple of another. Compares their decimal digits, because a quotient of floats is rounded. */
export function isMultiple(value: number, divisor: number): boolean {
  const [a, b] = [decimalOf(value), decimalOf(divisor)];
  const power = Math.min(a.power, b.power);
  return (a.digits * 10n ** BigInt(a.power - power)) % (b.digits * 10n ** BigInt(b.power - power)) === 0n;
}

/** Returns the automaton that accepts exactly these ASCII texts. Texts with the same endings share states. */
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
