// Formats numbers with a precision as Python does: exactly, with halves rounded to even.
import { pythonFloat } from "../../chat-json.ts";

/** A number without its sign: digits / 10 ** scale. */
interface Decimal {
  digits: bigint;
  scale: number;
}

/**
 * Returns the exact decimal digits of a finite number. A float64 is mantissa · 2 ** power, with 52 fraction bits and an exponent bias of
 * 1023, so power is exponent − 1075. A negative power becomes decimal by 2 ** −n = 5 ** n / 10 ** n.
 */
function exactly(value: number): Decimal {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(value));
  const bits = view.getBigUint64(0);
  const exponent = Number(bits >> 52n);
  const fraction = bits & ((1n << 52n) - 1n);
  const mantissa = exponent === 0 ? fraction : fraction | (1n << 52n);
  const power = Math.max(exponent, 1) - 1075;
  return power >= 0
    ? { digits: mantissa << BigInt(power), scale: 0 }
    : { digits: mantissa * 5n ** BigInt(-power), scale: -power };
}

/** Returns the number in units of 10 ** -places, with halves rounded to even. */
function inUnits({ digits, scale }: Decimal, places: number): bigint {
  if (places >= scale) return digits * 10n ** BigInt(places - scale);
  const unit = 10n ** BigInt(scale - places);
  const [whole, twice] = [digits / unit, 2n * (digits % unit)];
  return twice > unit || (twice === unit && whole % 2n === 1n) ? whole + 1n : whole;
}

const signOf = (value: number) => (value < 0 || Object.is(value, -0) ? "-" : "");

/** Formats a number with a number of decimals, as `%.2f`. */
export function fixed(value: number, places: number): string {
  if (!Number.isFinite(value)) return pythonFloat(value);
  const text = inUnits(exactly(value), places)
    .toString()
    .padStart(places + 1, "0");
  return signOf(value) + (places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`);
}

/** Returns the first `count` digits of a number, rounded, and its power of ten. */
function leading(value: number, count: number): { text: string; power: number } {
  const decimal = exactly(value);
  if (decimal.digits === 0n) return { text: "0".repeat(count), power: 0 };
  const power = decimal.digits.toString().length - 1 - decimal.scale;
  const text = inUnits(decimal, count - 1 - power).toString();
  return text.length > count ? { text: text.slice(0, count), power: power + 1 } : { text, power };
}

function withExponent(digits: string, power: number): string {
  const mantissa = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits;
  return `${mantissa}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** Formats a number with an exponent, as `%.2e`. */
export function exponential(value: number, places: number): string {
  if (!Number.isFinite(value)) return pythonFloat(value);
  const { text, power } = leading(value, places + 1);
  return signOf(value) + withExponent(text, power);
}

/**
 * Formats a number with a number of digits, as `%.3g`. @param keepsZeros whether zeros at the end stay @param isFloat whether the result
 * must look like a float, as in `{:.3}`
 */
export function general(value: number, precision: number, keepsZeros = false, isFloat = false): string {
  if (!Number.isFinite(value)) return pythonFloat(value);
  const count = Math.max(1, precision);
  const { text, power } = leading(value, count);
  const digits = keepsZeros ? text : text.replace(/(?<=.)0+$/u, "");
  if (power < -4 || power >= count - (isFloat ? 1 : 0)) return signOf(value) + withExponent(digits, power);
  const padded = power < 0 ? "0".repeat(-power) + digits : digits.padEnd(power + 1, "0");
  const whole = padded.slice(0, Math.max(0, power) + 1);
  const decimals = padded.slice(whole.length);
  return signOf(value) + whole + (decimals !== "" ? `.${decimals}` : isFloat ? ".0" : keepsZeros ? "." : "");
}

/** Python's round of a finite number; `places` may be negative. */
export function roundedTo(value: number, places: number): number {
  // Float64 has magnitudes from 5e-324 to 1.8e308. Rounding to 401 or more decimals changes none of them.
  // Rounding to a multiple of 1e401 or more gives 0.
  if (places > 400) return value;
  const text = places < -400 ? "0" : `${inUnits(exactly(value), places)}e${-places}`;
  return Number(signOf(value) + text);
}
