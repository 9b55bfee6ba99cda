// Random mutations of valid binary and JSON files, as a fuzzer without coverage feedback makes them.
import fc from "fast-check";

/** Replacement values for lengths, counts and offsets. */
const LIES = [
  0n,
  1n,
  2n,
  31n,
  255n,
  65_536n,
  2n ** 31n - 1n,
  2n ** 32n - 1n,
  2n ** 40n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

type Edit = (bytes: Buffer) => Buffer;

/** One edit: flips bits of a byte, replaces a 2-, 4- or 8-byte number, removes, repeats or fills a range, or truncates. */
function edit(length: number, fields: readonly number[]): fc.Arbitrary<Edit> {
  const anywhere = fc.nat(Math.max(0, length - 1));
  const at = fields.length > 0 ? fc.oneof(fc.constantFrom(...fields), anywhere) : anywhere;
  const flip = fc.tuple(at, fc.integer({ min: 1, max: 255 })).map(
    ([i, mask]): Edit =>
      (bytes) => {
        if (i < bytes.length) bytes[i]! ^= mask;
        return bytes;
      },
  );
  const lie = fc
    .tuple(at, fc.constantFrom(2, 4, 8), fc.oneof(fc.constantFrom(...LIES), fc.bigInt({ min: 0n, max: 300n })))
    .map(
      ([i, width, value]): Edit =>
        (bytes) => {
          for (let k = 0; k < width && i + k < bytes.length; k++)
            bytes[i + k] = Number((value >> BigInt(8 * k)) & 255n);
          return bytes;
        },
    );
  const splice = fc.tuple(at, fc.nat(40), fc.nat(3)).map(
    ([i, count, copies]): Edit =>
      (bytes) => {
        const piece = bytes.subarray(i, i + count);
        return Buffer.concat([bytes.subarray(0, i), ...Array<Buffer>(copies).fill(piece), bytes.subarray(i + count)]);
      },
  );
  const fill = fc.tuple(at, fc.nat(40), fc.nat(255)).map(
    ([i, count, byte]): Edit =>
      (bytes) =>
        bytes.fill(byte, Math.min(i, bytes.length), Math.min(i + count, bytes.length)),
  );
  const cut = anywhere.map(
    (i): Edit =>
      (bytes) =>
        bytes.subarray(0, i),
  );
  return fc.oneof({ weight: 4, arbitrary: flip }, { weight: 4, arbitrary: lie }, splice, fill, cut);
}

/** Files with one to four edits of a valid one. `fields` are the positions of lengths, counts and offsets. */
export function broken(whole: Buffer, fields: readonly number[] = []): fc.Arbitrary<Buffer> {
  return fc
    .array(edit(whole.length, fields), { minLength: 1, maxLength: 4 })
    .map((edits) => edits.reduce<Buffer>((bytes, change) => change(bytes), Buffer.from(whole)));
}

const ODD: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1,
  1.5,
  -0.5,
  1e308,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 53,
  "",
  "x",
  "\ud800",
  "__proto__",
  "../../etc/passwd",
  [],
  [[]],
  [null],
  {},
  { type: "Sequence" },
  { __proto__x: 1 },
  "a".repeat(3000),
  Array(300).fill(7),
];

type Json = Record<string | number, unknown>;

/** Paths in a JSON value, except the root. Includes only the first 12 entries of each object and array. */
export function places(value: unknown, path: readonly (string | number)[] = []): (string | number)[][] {
  const own = path.length > 0 ? [[...path]] : [];
  if (typeof value !== "object" || value === null) return own;
  const entries = Object.entries(value).slice(0, 12);
  return own.concat(
    entries.flatMap(([key, item]) => places(item, [...path, Array.isArray(value) ? Number(key) : key])),
  );
}

/** JSON text with one to three values of `value` replaced or removed, or with one to four edits of its bytes. */
export function brokenJson(value: object): fc.Arbitrary<string> {
  const change = fc.tuple(
    fc.constantFrom(...places(value)),
    fc.oneof(fc.constantFrom(...ODD), fc.jsonValue({ maxDepth: 3 })),
    fc.boolean(),
  );
  const values = fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
    const copy = structuredClone(value) as Json;
    for (const [path, item, leftOut] of changes) {
      let at: unknown = copy;
      for (const key of path.slice(0, -1)) at = typeof at === "object" && at !== null ? (at as Json)[key] : undefined;
      if (typeof at !== "object" || at === null) continue;
      if (leftOut && item === null) delete (at as Json)[path.at(-1)!];
      else (at as Json)[path.at(-1)!] = structuredClone(item);
    }
    return JSON.stringify(copy);
  });
  const whole = Buffer.from(JSON.stringify(value));
  return fc.oneof(
    { weight: 3, arbitrary: values },
    broken(whole).map((bytes) => bytes.toString("latin1")),
  );
}
