// Converts plain data with typed arrays to JSON and back, exact to the last bit.

const KINDS = { Int32Array, Float32Array, Float64Array } as const;

/**
 * Converts typed arrays in a value to `{ "$Float32Array": [...] }`. Numbers that JSON cannot represent (NaN, ±∞, −0)
 * become strings in a typed array, and `{ "$number": "-Infinity" }` elsewhere. JSON keeps every bit of all other
 * numbers.
 */
export function pack(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    const name = value.constructor.name;
    return { [`$${name}`]: Array.from(value as Float32Array, (number) => named(number) ?? number) };
  }
  if (typeof value === "number") {
    const name = named(value);
    return name === undefined ? value : { $number: name };
  }
  if (Array.isArray(value)) return value.map(pack);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, pack(v)]));
}

/** Returns the name of a number that JSON cannot represent. */
function named(number: number): string | undefined {
  if (Object.is(number, -0)) return "-0";
  return Number.isFinite(number) ? undefined : String(number);
}

/** Reverses `pack`. */
export function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpack);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [name = "", of] = entries.length === 1 ? entries[0]! : [];
  if (name.startsWith("$") && Object.hasOwn(KINDS, name.slice(1)) && Array.isArray(of))
    return KINDS[name.slice(1) as keyof typeof KINDS].from((of as unknown[]).map(Number));
  if (name === "$number") return Number(of);
  return Object.fromEntries(entries.map(([key, v]) => [key, unpack(v)]));
}
