// Generates random schemas together with valid documents.
import fc from "fast-check";
import type { Json, Schema } from "./validator.ts";

/** A schema and a generator of its documents. */
export interface Sample {
  schema: Schema;
  /** Valid documents, with keys in the schema's order. */
  document: fc.Arbitrary<Json>;
}

const name = fc.oneof(
  fc.constantFrom("a", "b", "ab", "name", "naïve", "日本", 'q"uote', "back\\slash", "line\n", "sl/ash", ""),
  fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 4 }),
);

const text = (options: { minLength?: number; maxLength?: number }) =>
  fc.string({ unit: "binary", ...options }).filter((s) => {
    const length = [...s].length;
    return s.isWellFormed() && length >= (options.minLength ?? 0) && length <= (options.maxLength ?? Infinity);
  });

const strings: fc.Arbitrary<Sample> = fc.oneof(
  fc.constant({ schema: { type: "string" }, document: text({ maxLength: 12 }) }),
  fc.tuple(fc.nat(3), fc.nat(4)).map(([minLength, more]) => ({
    schema: { type: "string", minLength, maxLength: minLength + more },
    document: text({ minLength, maxLength: minLength + more }),
  })),
  fc
    .constantFrom(
      "^[a-z]+$",
      "x",
      "^(?:ab|c)*$",
      '["\\\\]',
      "^.{2,3}$",
      "[^a-z]",
      "\\d{2}|é",
      "^\\s?\\w*$",
      "^$",
      "[\\u{1F600}-\\u{1F64F}]",
    )
    .map((pattern) => ({
      schema: { type: "string", pattern },
      document: fc
        .oneof(fc.stringMatching(new RegExp(pattern, "u")), text({ maxLength: 4 }))
        .filter((s) => new RegExp(pattern, "u").test(s) && s.isWellFormed()),
    })),
  fc.constantFrom("date", "uuid", "ipv4", "date-time").map((format) => ({
    schema: { type: "string", format },
    document:
      format === "uuid"
        ? fc.uuid()
        : format === "ipv4"
          ? fc.ipV4()
          : fc
              .date({ min: new Date("1000-01-01"), max: new Date("9000-01-01"), noInvalidDate: true })
              .map((date) => date.toISOString().slice(0, format === "date" ? 10 : 24)),
  })),
);

const decimals = (min: number, max: number) =>
  fc.integer({ min: Math.ceil(min * 1000), max: Math.floor(max * 1000) }).map((n) => n / 1000);

const numbers: fc.Arbitrary<Sample> = fc.oneof(
  fc.constant({ schema: { type: "integer" }, document: fc.maxSafeInteger().map((n) => n || 0) }),
  fc.constant({
    schema: { type: "number" },
    document: fc.double({ noNaN: true, min: -1.69e308, max: 1.69e308 }).map((n) => (Object.is(n, -0) ? 0 : n)),
  }),
  fc.tuple(fc.integer({ min: -2000, max: 2000 }), fc.nat(3000)).map(([minimum, more]) => ({
    schema: { type: "integer", minimum, maximum: minimum + more },
    document: fc.integer({ min: minimum, max: minimum + more }),
  })),
  fc
    .tuple(fc.integer({ min: -2000, max: 2000 }), fc.integer({ min: 1, max: 3000 }), fc.boolean(), fc.boolean())
    .map(([low, more, excludeLow, excludeHigh]) => {
      const [a, b] = [low / 100, (low + more) / 100];
      return {
        schema: {
          type: "number",
          [excludeLow ? "exclusiveMinimum" : "minimum"]: a,
          [excludeHigh ? "exclusiveMaximum" : "maximum"]: b,
        },
        document: decimals(a, b)
          .filter((n) => (excludeLow ? n > a : n >= a) && (excludeHigh ? n < b : n <= b))
          .map((n) => n || 0),
      };
    }),
  fc.integer({ min: 2, max: 30 }).map((multipleOf) => ({
    schema: { type: "integer", multipleOf },
    document: fc.integer({ min: -1e6, max: 1e6 }).map((n) => n * multipleOf || 0),
  })),
);

const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);

const literals: fc.Arbitrary<Sample> = fc.oneof(
  json.map((value) => ({ schema: { const: value }, document: fc.constant(value) })),
  fc.array(fc.oneof(json, fc.constantFrom("a", "ab", "abc", 1, 12)), { minLength: 1, maxLength: 5 }).map((values) => ({
    schema: { enum: values },
    document: fc.constantFrom(...values),
  })),
  fc.constant({ schema: { type: "boolean" }, document: fc.boolean() }),
  fc.constant({ schema: { type: "null" }, document: fc.constant(null) }),
  fc.constant({ schema: true, document: json }),
  fc.constant({ schema: { type: ["integer", "null"] }, document: fc.option(fc.integer().map((n) => n || 0)) }),
);

const { sample } = fc.letrec<{ sample: Sample }>((tie) => ({
  sample: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 2, arbitrary: strings },
    { weight: 2, arbitrary: numbers },
    { weight: 2, arbitrary: literals },
    { weight: 2, arbitrary: arrays(tie("sample")) },
    { weight: 3, arbitrary: objects(tie("sample")) },
    { weight: 1, arbitrary: eithers(tie("sample")) },
  ),
}));

function arrays(item: fc.Arbitrary<Sample>): fc.Arbitrary<Sample> {
  return fc
    .tuple(fc.array(item, { maxLength: 2 }), item, fc.nat(3), fc.option(fc.nat(3)))
    .map(([prefix, rest, minItems, more]) => {
      const maxItems = more === null ? undefined : minItems + more;
      const schema: { [keyword: string]: unknown } = { type: "array", items: rest.schema, minItems };
      if (maxItems !== undefined) schema.maxItems = maxItems;
      if (prefix.length > 0) schema.prefixItems = prefix.map((one) => one.schema);
      const document = fc
        .integer({ min: minItems, max: Math.min(maxItems ?? 6, 6) })
        .chain((length) => fc.tuple(...Array.from({ length }, (_, i) => (prefix[i] ?? rest).document)));
      return { schema, document: document as fc.Arbitrary<Json> };
    });
}

function objects(value: fc.Arbitrary<Sample>): fc.Arbitrary<Sample> {
  const members = fc.uniqueArray(fc.tuple(name, value, fc.boolean()), { selector: ([key]) => key, maxLength: 4 });
  return fc.tuple(members, fc.option(value), fc.boolean()).map(([list, other, closed]) => {
    // JavaScript orders integer-like keys first, in schemas and in documents alike.
    const order = Object.keys(Object.fromEntries(list.map(([key]) => [key, 0])));
    const named = order.map((key) => list.find(([of]) => of === key)!);
    const schema: { [keyword: string]: unknown } = {
      type: "object",
      properties: Object.fromEntries(named.map(([key, of]) => [key, of.schema])),
      required: named.filter(([, , required]) => required).map(([key]) => key),
    };
    if (other) schema.additionalProperties = other.schema;
    else if (closed || named.length === 0) schema.additionalProperties = false;
    const extra = other
      ? fc.uniqueArray(
          fc.tuple(
            fc
              .oneof(name, fc.string({ unit: "binary", maxLength: 3 }))
              .filter((key) => key.isWellFormed() && !order.includes(key) && !/^\d+$/.test(key) && key !== "__proto__"),
            other.document,
          ),
          { selector: ([key]) => key, maxLength: 2 },
        )
      : fc.constant([]);
    const parts = named.map(([key, of, required]) => {
      const one = of.document.map((v): [string, Json][] => [[key, v]]);
      return required ? one : fc.oneof(one, fc.constant<[string, Json][]>([]));
    });
    const document = fc
      .tuple(fc.tuple(...parts), extra)
      .map(([own, more]) => Object.fromEntries([...own.flat(), ...more]) as Json);
    return { schema, document };
  });
}

function eithers(part: fc.Arbitrary<Sample>): fc.Arbitrary<Sample> {
  return fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => ({
    schema: { anyOf: parts.map((one) => one.schema) },
    document: fc.oneof(...parts.map((one) => one.document)),
  }));
}

export { sample };
