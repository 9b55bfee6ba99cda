// Converts plain data with typed arrays to JSON and back, exact to the last bit.

const KINDS = { Int32Array, Float32Array, Float64Array } as const;

/** Converts typed arrays in a value to `{ "$Float32Array": [...] }`. JSON keeps every bit of a finite number. */
export function pack(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    const name = value.constructor.name;
    return { [`$${name}`]: Array.from(value as Float32Array) };
  }
  if (Array.isArray(value)) return value.map(pack);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, pack(v)]));
}

/** Reverses `pack`. */
export function unpack(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unpack);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [name = "", of] = entries.length === 1 ? entries[0]! : [];
  if (name.startsWith("$") && Object.hasOwn(KINDS, name.slice(1)) && Array.isArray(of))
    return KINDS[name.slice(1) as keyof typeof KINDS].from(of as number[]);
  return Object.fromEntries(entries.map(([key, v]) => [key, unpack(v)]));
}
