// Compiles numbers between bounds to patterns over their decimal digits.
import { describe } from "../core/errors.ts";
import type { Slices } from "../core/slices.ts";
import { unsupported, Work } from "./limits.ts";
import { listDfa, listedMultiples, multiplesOf } from "./multiples.ts";
import { concat, either, empty, type Pattern, parsePattern, repeat, set } from "./pattern.ts";
import { type Dfa, dfaInSlices, type Edge, intersectInSlices } from "./regular.ts";

/** A lower or upper bound of numbers. */
export interface Bound {
  value: number;
  exclusive: boolean;
}

/** The numbers that a schema allows. */
interface NumberRule {
  integer: boolean;
  low: Bound | undefined;
  high: Bound | undefined;
  multiples: readonly number[];
}

/** Maximum numbers of digits before and after the point: those of the longest numbers that JSON.stringify writes without an exponent. */
const INTEGER_DIGITS = 21;
const FRACTION_DIGITS = 22;
/** Maximum number of digits of integers that parse exactly. A longer multiple may be rounded to a number that is not a multiple. */
const EXACT_DIGITS = 15;
/** Largest divisor for which ten times a remainder plus a digit is exact. */
const LARGEST_MULTIPLE = 10 ** (EXACT_DIGITS - 1);
/** Units of work for a rule's bounds. */
const RULE = 10_000;
/** Units of work for each divisor of a rule. */
const MULTIPLE = 100;
/** Units of work for each multiple that is listed. */
const LISTED = 1000;

const char = (text: string) => concat(...Array.from(text, (c) => set([c.charCodeAt(0), c.charCodeAt(0)])));
const between = (low: number, high: number) => set([0x30 + low, 0x30 + high]);
const digit = between(0, 9);
const digits = (least: number, most: number) => repeat(digit, least, most);
const optional = (part: Pattern) => repeat(part, 0, 1);
const nothing: Pattern = { kind: "set", set: [] };

const anyInteger = either(char("0"), concat(between(1, 9), digits(0, INTEGER_DIGITS - 1)));

/** Exponents of three digits, from −324 to −100 and from 100 to 307. `largest` covers 308. */
const exponents = "-(?:[12]\\d\\d|3[01]\\d|32[0-4])|\\+?(?:[12]\\d\\d|30[0-7])";
/** Any finite number. With a large exponent it has one digit before the point, as JSON.stringify writes it. */
const anyNumber = parsePattern(
  [
    `-?(?:0|[1-9]\\d{0,${INTEGER_DIGITS - 1}})(?:\\.\\d{1,${FRACTION_DIGITS}})?(?:[eE][+-]?\\d{1,2})?`,
    `-?\\d(?:\\.\\d{1,${FRACTION_DIGITS}})?[eE](?:${exponents})`,
  ].join("|"),
  "number",
);

/** Returns the pattern of numbers with the largest exponent, 308, whose mantissa must be at most that of Number.MAX_VALUE. */
function largest(): Pattern {
  const [whole, decimals] = String(Number.MAX_VALUE).split("e")[0]!.split(".");
  const size = atMost({ whole: whole!, decimals: decimals!, exclusive: false }, FRACTION_DIGITS);
  return concat(optional(char("-")), size, parsePattern("[eE]\\+?308", "number"));
}

/** Returns the automaton of a rule's numbers. @throws HeddleError UNSUPPORTED for bounds and divisors that cannot be compiled */
export function* numberDfa({ integer, low, high, multiples }: NumberRule, where: string, work: Work): Slices<Dfa> {
  work.spend(RULE + MULTIPLE * multiples.length, where);
  if (!low && !high && multiples.length === 0) return yield* unbounded(integer);
  let places = FRACTION_DIGITS;
  let whole = integer;
  const moduli: number[] = [];
  for (const multiple of multiples) {
    const decimals = Math.round(-Math.log10(multiple));
    if (Number.isInteger(multiple) && multiple <= LARGEST_MULTIPLE) {
      whole = true;
      if (multiple > 1) moduli.push(multiple);
    } else if (decimals >= 1 && decimals <= 15 && multiple === Number(`1e-${decimals}`))
      places = Math.min(places, decimals);
    else
      throw unsupported(
        where,
        `multipleOf ${describe(multiple)} (supported: whole numbers up to ${LARGEST_MULTIPLE}, and 0.1, 0.01 and so on to 1e-15)`,
      );
  }
  if (moduli.length > 0) {
    const { least, most } = wholeBounds(low, high, where);
    const listed = least !== undefined && most !== undefined ? listedMultiples(moduli, least, most) : undefined;
    if (listed) {
      work.spend(listed.length * LISTED, where);
      return listDfa(listed);
    }
  }
  let dfa = yield* whole ? integerDfa(low, high, where, work) : boundedDfa(low, high, places, where, work);
  // Leave out multiples of more than EXACT_DIGITS digits, unless the bounds allow no shorter ones.
  if (moduli.length > 0 && (low?.value ?? 0) < 10 ** EXACT_DIGITS && (high?.value ?? 0) > -(10 ** EXACT_DIGITS)) {
    const exact = yield* dfaInSlices(concat(optional(char("-")), digits(1, EXACT_DIGITS)), "plain", where, work);
    dfa = yield* intersectInSlices(dfa, exact, where, work);
  }
  for (const modulus of moduli) dfa = yield* intersectInSlices(dfa, multiplesOf(modulus), where, work);
  return dfa;
}

const unboundedDfas = new Map<boolean, Dfa>();

/** Returns the automaton of all integers or all numbers. It is made only once, because most schemas need it. */
function* unbounded(integer: boolean): Slices<Dfa> {
  let dfa = unboundedDfas.get(integer);
  if (!dfa) {
    const work = new Work();
    const made = integer
      ? integerDfa(undefined, undefined, "number", work)
      : dfaInSlices(either(anyNumber, largest()), "plain", "number", work);
    dfa = yield* made;
    unboundedDfas.set(integer, dfa);
  }
  return dfa;
}

function integerDfa(low: Bound | undefined, high: Bound | undefined, where: string, work: Work): Slices<Dfa> {
  const { least, most } = wholeBounds(low, high, where);
  const of = (a: bigint | undefined, b: bigint | undefined) => naturals(a ?? 0n, b);
  const parts: Pattern[] = [];
  if (most === undefined || most >= 0n) parts.push(of(least !== undefined && least > 0n ? least : 0n, most));
  if (least === undefined || least < 0n) {
    const nearest = most !== undefined && most < 0n ? -most : 1n;
    parts.push(concat(char("-"), of(nearest, least === undefined ? undefined : -least)));
  }
  return dfaInSlices(either(...parts), "plain", where, work);
}

/**
 * Returns the smallest and the largest integer between two bounds. A bound that all integers of up to INTEGER_DIGITS
 * digits satisfy is omitted.
 * @throws HeddleError UNSUPPORTED if all integers between them have more than INTEGER_DIGITS digits
 */
function wholeBounds(low: Bound | undefined, high: Bound | undefined, where: string) {
  const written = 10 ** INTEGER_DIGITS;
  const beyond = (low && low.value >= written) || (high && high.value <= -written);
  if (beyond && !(low && high && low.value > high.value))
    throw unsupported(
      where,
      `an integer of more than ${INTEGER_DIGITS} digits (${[low && `from ${low.value}`, high && `to ${high.value}`].filter(Boolean).join(" ")})`,
    );
  return { least: low && wholeBound(low, Math.ceil, 1n), most: high && wholeBound(high, Math.floor, -1n) };
}

/** Returns the first integer inside a bound; undefined if all integers of INTEGER_DIGITS digits are inside. */
function wholeBound({ value, exclusive }: Bound, round: (v: number) => number, inwards: bigint): bigint | undefined {
  const whole = round(value);
  const bound = BigInt(whole) + (exclusive && whole === value ? inwards : 0n);
  const outside = inwards > 0n ? bound <= -(10n ** BigInt(INTEGER_DIGITS)) : bound >= 10n ** BigInt(INTEGER_DIGITS);
  return outside ? undefined : bound;
}

/** Returns a pattern of the natural numbers from `low` to `high`, without leading zeros. */
function naturals(low: bigint, high: bigint | undefined): Pattern {
  const most = high ?? 10n ** BigInt(INTEGER_DIGITS) - 1n;
  const parts: Pattern[] = [];
  // Consecutive lengths whose numbers are all allowed become one part.
  let [fewest, largest] = [0, 0];
  for (let length = 1; length <= INTEGER_DIGITS; length++) {
    const first = length === 1 ? 0n : 10n ** BigInt(length - 1);
    const last = 10n ** BigInt(length) - 1n;
    const [a, b] = [low > first ? low : first, most < last ? most : last];
    if (a > b) continue;
    if (length === 1 || a > first || b < last) parts.push(sameLength(String(a), String(b)));
    else [fewest, largest] = [fewest || length, length];
  }
  if (largest > 0) parts.push(concat(between(1, 9), digits(fewest - 1, largest - 1)));
  return parts.length === 0 ? nothing : either(...parts);
}

/** Returns a pattern of the digit strings from `low` to `high`, which have the same length. */
function sameLength(low: string, high: string): Pattern {
  if (low === "") return empty;
  const [a, b] = [Number(low[0]), Number(high[0])];
  const rest = low.length - 1;
  if (/^0+$/.test(low) && /^9+$/.test(high)) return digits(low.length, low.length);
  if (a === b) return concat(between(a, a), sameLength(low.slice(1), high.slice(1)));
  const parts = [
    concat(between(a, a), sameLength(low.slice(1), "9".repeat(rest))),
    concat(between(b, b), sameLength("0".repeat(rest), high.slice(1))),
  ];
  if (a + 1 < b) parts.push(concat(between(a + 1, b - 1), digits(rest, rest)));
  return either(...parts);
}

/**
 * Returns the automaton of numbers between bounds. With a bound, numbers have no exponent, so that their digits determine their order.
 */
function* boundedDfa(
  least: Bound | undefined,
  most: Bound | undefined,
  places: number,
  where: string,
  work: Work,
): Slices<Dfa> {
  // Omit bounds beyond all numbers that can be written without an exponent.
  const far = 10 ** INTEGER_DIGITS;
  const low = least && least.value <= -far ? undefined : least;
  const high = most && most.value >= far ? undefined : most;
  if (!low && !high) {
    const written = concat(optional(char("-")), anyInteger, optional(concat(char("."), digits(1, places))));
    return yield* dfaInSlices(written, "plain", where, work);
  }
  // Limit the number of decimals if a bound is excluded, because rounding could turn a longer number into the bound itself.
  const room = [low, high].map((bound) =>
    bound?.exclusive ? 15 - decimalOf(bound.value, where).whole.length : places,
  );
  const fraction = Math.max(1, Math.min(places, ...room));
  const at = (bound: Bound | undefined, sign: number): Magnitude | undefined =>
    bound && { ...decimalOf(sign * bound.value, where), exclusive: bound.exclusive };
  const build = function* (least: Magnitude | undefined, most: Magnitude | undefined): Slices<Dfa> {
    const all = concat(anyInteger, optional(concat(char("."), digits(1, fraction))));
    const from = yield* dfaInSlices(least ? atLeast(least, fraction) : all, "plain", where, work);
    if (!most) return from;
    return yield* intersectInSlices(
      from,
      yield* dfaInSlices(atMost(most, fraction), "plain", where, work),
      where,
      work,
    );
  };
  const zero: Magnitude = { whole: "0", decimals: "", exclusive: false };
  const positive = !high || high.value > 0 || (high.value === 0 && !high.exclusive);
  const negative = !low || low.value < 0;
  const upwards = positive ? yield* build(low && low.value >= 0 ? at(low, 1) : zero, at(high, 1)) : undefined;
  const downwards = negative ? yield* build(high && high.value <= 0 ? at(high, -1) : zero, at(low, -1)) : undefined;
  return signed(upwards, downwards);
}

/** Joins the automaton of positive numbers and, after a minus sign, the automaton of negative numbers' digits. */
function signed(upwards: Dfa | undefined, downwards: Dfa | undefined): Dfa {
  const accepting: boolean[] = [false];
  const edges: Edge[][] = [[]];
  const append = (dfa: Dfa): number => {
    const base = edges.length;
    accepting.push(...dfa.accepting);
    for (const out of dfa.edges) edges.push(out.map(([low, high, to]) => [low, high, to + base]));
    return base + dfa.start;
  };
  if (upwards) edges[0]!.push(...edges[append(upwards)]!);
  if (downwards) {
    const start = append(downwards);
    if (edges[start]!.length > 0) edges[0]!.push([0x2d, 0x2d, start]);
  }
  return { start: 0, accepting, edges };
}

/** The digits of a bound's absolute value before and after the point, without superfluous zeros. */
interface Magnitude {
  whole: string;
  decimals: string;
  exclusive: boolean;
}

function decimalOf(value: number, where: string): { whole: string; decimals: string } {
  const size = Math.abs(value);
  const [, mantissa, power] = /^([\d.]+)(?:e([+-]\d+))?$/.exec(String(size))!;
  const [before, after = ""] = mantissa!.split(".");
  const point = before!.length + Number(power ?? 0);
  const all = before! + after;
  const whole = point <= 0 ? "0" : all.slice(0, point).padEnd(point, "0");
  const decimals = (point <= 0 ? "0".repeat(-point) + all : all.slice(point)).replace(/0+$/, "");
  if (whole.length > 15 || decimals.length > 15)
    throw unsupported(where, `a bound of more than 15 digits before or after its point, ${describe(value)},`);
  return { whole: whole.replace(/^0+(?=\d)/, ""), decimals };
}

/** Returns a pattern of the numbers without sign from a bound on, with up to `places` decimals. */
function atLeast({ whole, decimals, exclusive }: Magnitude, places: number): Pattern {
  const more = naturals(BigInt(whole) + 1n, undefined);
  const fraction = optional(concat(char("."), digits(1, places)));
  const parts: Pattern[] = [concat(more, fraction)];
  if (decimals === "" && !exclusive) parts.push(concat(char(whole), fraction));
  else {
    // The first differing digit is larger. With an exclusive bound, it may also be a nonzero digit after all digits of the bound.
    for (let i = 0; i < Math.min(decimals.length, places); i++) {
      const d = Number(decimals[i]);
      if (d < 9)
        parts.push(concat(char(`${whole}.${decimals.slice(0, i)}`), between(d + 1, 9), digits(0, places - i - 1)));
    }
    const rest = places - decimals.length;
    if (rest >= 0 && !exclusive) parts.push(concat(char(`${whole}.${decimals}`), digits(0, rest)));
    if (exclusive)
      for (let zeros = 0; zeros < rest; zeros++)
        parts.push(
          concat(char(`${whole}.${decimals}${"0".repeat(zeros)}`), between(1, 9), digits(0, rest - zeros - 1)),
        );
  }
  return either(...parts);
}

/** Returns a pattern of the numbers without sign up to a bound, with up to `places` decimals. */
function atMost({ whole, decimals, exclusive }: Magnitude, places: number): Pattern {
  const parts: Pattern[] = [];
  if (whole !== "0")
    parts.push(concat(naturals(0n, BigInt(whole) - 1n), optional(concat(char("."), digits(1, places)))));
  if (decimals === "") {
    if (!exclusive) parts.push(concat(char(whole), optional(concat(char("."), repeat(char("0"), 1, places)))));
    return parts.length === 0 ? nothing : either(...parts);
  }
  parts.push(char(whole));
  // The first differing digit is smaller, or the number ends before the bound's digits do.
  for (let i = 0; i < Math.min(decimals.length, places); i++) {
    const d = Number(decimals[i]);
    const same = `${whole}.${decimals.slice(0, i)}`;
    if (d > 0) parts.push(concat(char(same), between(0, d - 1), digits(0, places - i - 1)));
    if (i > 0) parts.push(char(same));
  }
  const rest = places - decimals.length;
  if (rest >= 0 && !exclusive) parts.push(concat(char(`${whole}.${decimals}`), repeat(char("0"), 0, rest)));
  else if (rest < 0) parts.push(char(`${whole}.${decimals.slice(0, places)}`));
  return either(...parts);
}
