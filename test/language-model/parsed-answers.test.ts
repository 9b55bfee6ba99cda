// Response formats that are schemas of other libraries: answers are checked and parsed.
import { toStandardJsonSchema } from "@valibot/to-json-schema";
import { type } from "arktype";
import * as v from "valibot";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { z as z3 } from "zod/v3";
import { HeddleError } from "../../lib/core/errors.ts";
import type { Completion, LanguageModel, StandardIssue, StandardSchema } from "../../lib/language-model/index.ts";
import type { Same } from "../helpers/same-type.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 512 });
});
afterAll(() => model.dispose());

const long = { maxTokens: 300, temperature: 1, seed: 4 };

const idOf = (text: string) => model.tokenizer!.encode(text, { addSpecialTokens: false })[0]!;

interface Person {
  name: "Ada" | "Bo";
  age: number;
  tags: string[];
}

const json = {
  type: "object",
  properties: {
    name: { enum: ["Ada", "Bo"] },
    age: { type: "integer", minimum: 0, maximum: 130 },
    tags: { type: "array", items: { type: "string", maxLength: 3 }, maxItems: 2 },
  },
  required: ["name", "age", "tags"],
} as const;

const ofZod = z.object({
  name: z.enum(["Ada", "Bo"]),
  age: z.number().int().min(0).max(130),
  tags: z.array(z.string().max(3)).max(2),
});
const ofZod3 = z3.object({
  name: z3.enum(["Ada", "Bo"]),
  age: z3.number().int().min(0).max(130),
  tags: z3.array(z3.string().max(3)).max(2),
});
const ofValibot = v.object({
  name: v.picklist(["Ada", "Bo"]),
  age: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(130)),
  tags: v.pipe(v.array(v.pipe(v.string(), v.maxLength(3))), v.maxLength(2)),
});
const ofArktype = type({ name: "'Ada' | 'Bo'", age: "0 <= number.integer <= 130", tags: "(string <= 3)[] <= 2" });

const formats = {
  "zod 4": ofZod,
  "zod 3 with its JSON schema": { type: "json_schema", schema: json, validate: ofZod3 },
  valibot: toStandardJsonSchema(ofValibot),
  "valibot with its JSON schema": {
    type: "json_schema",
    json_schema: { name: "p", schema: json },
    validate: ofValibot,
  },
  arktype: ofArktype,
} as const;

/** Fails unless a value matches the schemas, which all describe the same values. */
function expectPerson(parsed: unknown): void {
  expect(parsed).toEqual({
    name: expect.stringMatching(/^(Ada|Bo)$/),
    age: expect.any(Number),
    tags: expect.any(Array),
  });
}

/** Makes a schema by hand, as a library would. */
function schemaOf(validate: StandardSchema["~standard"]["validate"], input: () => object = () => json): StandardSchema {
  return { "~standard": { version: 1, vendor: "hand", validate, jsonSchema: { input: () => ({ ...input() }) } } };
}

interface Refusal {
  completion: Completion;
  completions?: Completion[];
  issues?: StandardIssue[];
  error?: unknown;
}

async function refusal(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HeddleError);
  const { code, message, cause } = error as HeddleError;
  return { code, message, ...(cause as Refusal) };
}

describe("a schema as the response format", () => {
  test.each(Object.entries(formats))("%s: complete returns what the schema parsed", async (_name, responseFormat) => {
    const answer = await model.complete("The cat", { ...long, responseFormat });
    expectPerson(answer.parsed);
    expect(answer.parsed).toEqual(JSON.parse(answer.text));
  });

  test("has the same answer as its JSON schema", async () => {
    const { text } = await model.complete("The cat", { ...long, responseFormat: ofZod });
    const schema = z.toJSONSchema(ofZod, { io: "input" });
    const plain = await model.complete("The cat", { ...long, responseFormat: { type: "json_schema", schema } });
    expect(plain.text).toBe(text);
    expect("parsed" in plain).toBe(false);
  });

  test("is parsed by every call: several prompts, samples, beams, streams, sessions, batchers and chats", async () => {
    const options = { ...long, responseFormat: ofZod };
    for (const { parsed } of await model.completeAll(["The", "A"], { ...options, n: 2 })) expectPerson(parsed);
    const { seed: _, temperature: __, ...search } = options;
    expectPerson((await model.complete("The", { ...search, numBeams: 2 })).parsed);
    for (const { parsed } of await model.generate(["The", "A"], options)) expectPerson(parsed);
    const stream = model.generate("The", options);
    let text = "";
    for await (const piece of stream) text += piece.text;
    expect((await stream).parsed).toEqual(JSON.parse(text));
    using session = model.session();
    expectPerson((await session.complete("The", options)).parsed);
    await using batcher = model.batcher();
    expectPerson((await batcher.complete("The", options)).parsed);
    expectPerson((await batcher.completeAll(["The"], options))[0]!.parsed);
    expectPerson((await model.respond([{ role: "user", content: "The" }], options)).parsed);
    using chat = model.chat();
    const { parsed, text: said } = await chat.send("The", options);
    expectPerson(parsed);
    expect(chat.messages.at(-1)).toEqual({ role: "assistant", content: said });
  });

  test("applies its transforms and defaults to the document", async () => {
    const schema = z.object({
      n: z.enum(["12", "34"]).transform(Number),
      unit: z.literal("m").default("m"),
    });
    const { parsed, text } = await model.complete("The", { ...long, responseFormat: schema });
    expect(text).toMatch(/^\{\s*"n":\s*"(12|34)"/);
    expect([12, 34]).toContain(parsed.n);
    expect(parsed.unit).toBe("m");
  });

  test("may be recursive, and may check asynchronously", async () => {
    const node = z.object({
      v: z.boolean(),
      get next() {
        return z.union([z.null(), node]);
      },
    });
    const { parsed } = await model.complete("The", { ...long, responseFormat: node });
    expect(typeof parsed.v).toBe("boolean");
    const slow = ofZod.transform(async ({ name }) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return name.length;
    });
    const { parsed: length } = await model.complete("The", { ...long, responseFormat: slow });
    expect([2, 3]).toContain(length);
  });

  test("may have every kind of field that JSON can represent", async () => {
    const schema = z.object({
      mail: z.email().max(20),
      id: z.uuid(),
      day: z.iso.date(),
      count: z.int(),
      by: z.record(z.string(), z.boolean()),
      pair: z.tuple([z.literal("x"), z.number().nullable()]),
      kind: z.discriminatedUnion("k", [z.object({ k: z.literal("a") }), z.object({ k: z.literal("b"), n: z.null() })]),
      both: z.intersection(z.object({ a: z.boolean() }), z.object({ b: z.boolean() })),
    });
    // A model with random weights rarely closes a string, so bias it towards quotes and braces.
    const biased = { ...long, maxTokens: 450, responseFormat: schema, logitBias: { [idOf('"')]: 30, [idOf("}")]: 30 } };
    const { parsed, text } = await model.complete("The", biased);
    expect(parsed).toEqual(JSON.parse(text));
    expect(Object.keys(parsed)).toEqual(Object.keys(schema.shape));
  });
});

// tsc checks the types in the following functions, which never run. `parsed` has the type of the schema's output, if there is a schema.
void (async () => {
  const options = { maxTokens: 300 };
  const ofOne = await model.complete("x", { ...options, responseFormat: ofZod });
  true satisfies Same<typeof ofOne.parsed, Person>;
  const ofThree = await model.complete("x", { ...options, responseFormat: formats["zod 3 with its JSON schema"] });
  true satisfies Same<typeof ofThree.parsed, Person>;
  const ofVali = await model.complete("x", { ...options, responseFormat: formats.valibot });
  true satisfies Same<typeof ofVali.parsed, Person>;
  const ofArk = await model.complete("x", { ...options, responseFormat: ofArktype });
  true satisfies Same<typeof ofArk.parsed, Person>;
  const converted = await model.chat().send("x", { responseFormat: z.object({ n: z.string().transform(Number) }) });
  true satisfies Same<typeof converted.parsed, { n: number }>;
  const responded = await model.respond([], { responseFormat: ofZod });
  true satisfies Same<typeof responded.parsed, Person>;
  const all = await model.completeAll(["x"], { responseFormat: ofZod });
  true satisfies Same<(typeof all)[number]["parsed"], Person>;
  const streamed = await model.generate("x", { responseFormat: ofZod });
  true satisfies Same<typeof streamed.parsed, Person>;
  const without = await model.complete("x", { ...options, stop: ({ text }) => text.length > 3 });
  true satisfies Same<typeof without, Completion>;
  const plain: Completion = await model.complete("x", { responseFormat: { type: "json_object" } });
  plain.parsed satisfies unknown;
  // @ts-expect-error: a plain JSON schema has no output type
  plain.parsed satisfies Person;
  // @ts-expect-error: unknown options stay errors
  await model.complete("x", { responseFormat: ofZod, maxTokns: 3 });
  // @ts-expect-error: neither a format nor a schema
  await model.complete("x", { responseFormat: { type: "jsn" } });
});

void (async (responseFormat: typeof ofZod | undefined) => {
  const given = { maxTokens: 2, responseFormat };
  type Maybe = Person | undefined;
  const spread = await model.complete("x", { ...(responseFormat && { responseFormat }) });
  true satisfies Same<{ of: typeof spread.parsed }, { of: Maybe }>;
  const all = await model.completeAll(["x"], given);
  true satisfies Same<{ of: (typeof all)[number]["parsed"] }, { of: Maybe }>;
  const streamed = await model.generate("x", given);
  true satisfies Same<{ of: typeof streamed.parsed }, { of: Maybe }>;
  const said = await model.chat().send("x", given);
  true satisfies Same<{ of: typeof said.parsed }, { of: Maybe }>;
  const responded = await model.respond([], given);
  true satisfies Same<{ of: typeof responded.parsed }, { of: Maybe }>;
  const shared = await model.session().complete("x", given);
  true satisfies Same<{ of: typeof shared.parsed }, { of: Maybe }>;
  const batched = await model.batcher().completeAll(["x"], given);
  true satisfies Same<{ of: (typeof batched)[number]["parsed"] }, { of: Maybe }>;
  const validate = responseFormat && ({ type: "json_schema", schema: json, validate: responseFormat } as const);
  const checked = await model.complete("x", { responseFormat: validate });
  true satisfies Same<{ of: typeof checked.parsed }, { of: Maybe }>;
});

test("`parsed` may be missing in the type of a call whose schema may be undefined", async () => {
  // Always undefined, but its type includes the schema.
  const responseFormat = Math.random() < 2 ? undefined : ofZod;
  const given = { maxTokens: 2, temperature: 0, responseFormat };
  const { parsed } = await model.complete("x", given);
  true satisfies Same<{ parsed: typeof parsed }, { parsed: Person | undefined }>;
  expect(parsed).toBeUndefined();
  // @ts-expect-error: `parsed` may be undefined
  expect(() => parsed.name).toThrow(TypeError);
});

describe("an answer that its schema rejects", () => {
  test("gives an error that reports a truncated answer and includes it", async () => {
    const work = model.complete("The", { ...long, maxTokens: 3, responseFormat: ofZod });
    const { code, message, completion } = await refusal(work);
    expect(code).toBe("INVALID_ANSWER");
    expect(message).toMatch(
      /^responseFormat: expected a complete answer, got one that was cut after 3 tokens .*maxTokens/,
    );
    expect(completion).toMatchObject({ finishReason: "length", tokens: { length: 3 } });
    const stopped = model.complete("The", { ...long, stop: ":", responseFormat: ofZod });
    expect(await refusal(stopped)).toMatchObject({ code: "INVALID_ANSWER", completion: { finishReason: "length" } });
  });

  test("gives an error with the path and the reason of each issue", async () => {
    const strict = ofZod.extend({ age: ofZod.shape.age.refine((age) => age > 1000, "too young") });
    const { code, message, issues, completion } = await refusal(
      model.complete("The", { ...long, responseFormat: strict }),
    );
    expect([code, message]).toEqual([
      "INVALID_ANSWER",
      "responseFormat: the schema refuses the answer: age: too young",
    ]);
    expect(issues).toMatchObject([{ path: ["age"], message: "too young" }]);
    expect(JSON.parse(completion.text)).toMatchObject({ age: expect.any(Number) });
    const many = schemaOf(() => ({
      issues: [1, 2, 3, 4, 5].map((i) => ({ message: `m${i}`, path: [{ key: "a" }, i] })),
    }));
    expect((await refusal(model.complete("The", { ...long, responseFormat: many }))).message).toBe(
      "responseFormat: the schema refuses the answer: a.1: m1; a.2: m2; a.3: m3 and 2 more",
    );
    const ark = type({ a: "0 <= number.integer <= 9" }).narrow((_, ctx) => ctx.mustBe("lucky"));
    const responseFormat = {
      type: "json_schema",
      schema: z.toJSONSchema(z.object({ a: z.int().min(0).max(9) })),
      validate: ark,
    } as const;
    expect((await refusal(model.complete("The", { ...long, responseFormat }))).message).toContain("must be lucky");
  });

  test("reports a schema that throws, with its error", async () => {
    const broken = schemaOf(async () => {
      throw new Error("no database");
    });
    const { code, message, error } = await refusal(model.complete("The", { ...long, responseFormat: broken }));
    expect([code, message]).toEqual([
      "INVALID_ANSWER",
      "responseFormat: the schema failed to check the answer: no database",
    ]);
    expect(error).toMatchObject({ message: "no database" });
    const mute = schemaOf(() => undefined as never);
    expect(await refusal(model.complete("The", { ...long, responseFormat: mute }))).toMatchObject({
      code: "INVALID_ANSWER",
      message: "responseFormat: expected a schema whose validate returns a result, got undefined",
      completion: { finishReason: "stop" },
    });
  });

  test("keeps the other answers of the call in the error, in order, with their parsed values", async () => {
    const prompts = ["The", "A cat", "One"];
    const expected = await model.completeAll(prompts, { ...long, responseFormat: ofZod });
    const texts = expected.map(({ text }) => text);
    // Refuses the second answer at once, and the third one late.
    const picky = ofZod.refine(async (value) => {
      const place = texts.findIndex((text) => JSON.stringify(JSON.parse(text)) === JSON.stringify(value));
      if (place === 2) await new Promise((resolve) => setTimeout(resolve, 20));
      return place === 0;
    }, "not this one");
    await using batcher = model.batcher();
    const calls = {
      completeAll: () => model.completeAll(prompts, { ...long, responseFormat: picky }),
      generate: async () => model.generate(prompts, { ...long, responseFormat: picky }),
      batcher: () => batcher.completeAll(prompts, { ...long, responseFormat: picky }),
    };
    for (const [name, call] of Object.entries(calls)) {
      const { code, message, completion, completions, issues } = await refusal(call());
      expect([name, code]).toEqual([name, "INVALID_ANSWER"]);
      expect(message).toMatch(/not this one \(2 of 3 answers are not valid\)$/);
      expect(issues).toMatchObject([{ message: "not this one" }]);
      expect(completion.text).toBe(texts[1]);
      expect(completions!.map(({ text }) => text)).toEqual(texts);
      expect(completions!.map(({ parsed }) => parsed)).toEqual([expected[0]!.parsed, undefined, undefined]);
    }
  });

  test("lets the other answers of the call finish, also in a batcher", async () => {
    await using batcher = model.batcher();
    // The first answer is stopped at once, the others are not.
    const stop = ({ index }: { index: number }) => index === 0;
    const options = { ...long, stop, responseFormat: ofZod, n: 3 };
    for (const work of [model.completeAll(["The"], options), batcher.completeAll(["The"], options)]) {
      const { completion, completions } = await refusal(work);
      expect(completion.finishReason).toBe("length");
      expect(completions!.map(({ finishReason }) => finishReason)).toEqual(["length", "stop", "stop"]);
      for (const { parsed } of completions!.slice(1)) expectPerson(parsed);
    }
  });

  test("leaves a chat unchanged, and rejects its stream after the last piece", async () => {
    using chat = model.chat();
    const never = schemaOf(() => ({ issues: [{ message: "no" }] }));
    const reply = chat.send("The", { ...long, responseFormat: never });
    let pieces = 0;
    const read = async () => {
      for await (const _ of reply) pieces++;
    };
    expect((await refusal(read())).code).toBe("INVALID_ANSWER");
    expect((await refusal(Promise.resolve(reply))).code).toBe("INVALID_ANSWER");
    expect(pieces).toBeGreaterThan(3);
    expect(chat.messages).toEqual([]);
    expect((await chat.send("The", { ...long, responseFormat: ofZod })).parsed.name).toMatch(/^(Ada|Bo)$/);
  });
});

describe("a schema that has no JSON schema", () => {
  test.each([
    ["zod 3", ofZod3, /got a schema of zod without it: .*validate: SCHEMA.*zodToJsonSchema\(SCHEMA\)/],
    ["valibot", ofValibot, /got a schema of valibot without it: .*validate: SCHEMA.*toStandardJsonSchema\(SCHEMA\)/],
    ["zod's date", z.object({ at: z.date() }), /zod: Date cannot be represented.*validate: SCHEMA/],
    ["valibot's date", toStandardJsonSchema(v.object({ at: v.date() })), /valibot: .*date.*validate: SCHEMA/],
  ])("%s: says what to pass instead", async (_name, responseFormat, expected) => {
    const { code, message } = await failureOf(() => model.complete("The", { responseFormat }));
    expect(code).toBe("UNSUPPORTED");
    expect(message).toMatch(/^responseFormat: expected a schema /);
    expect(message).toMatch(expected);
  });

  test("is accepted together with a JSON schema", async () => {
    const at = z.object({ at: z.coerce.date() });
    const schema = { type: "object", properties: { at: { type: "string", format: "date" } }, required: ["at"] };
    const responseFormat = { type: "json_schema", schema, validate: at } as const;
    const { parsed } = await model.complete("The", { ...long, responseFormat });
    expect(parsed.at).toBeInstanceOf(Date);
  });

  test("is rejected as a JSON schema, and other values are rejected as a schema", async () => {
    const misplaced = { type: "json_schema", schema: ofZod } as never;
    const alike = { type: "json_schema", schema: ofValibot } as never;
    expect((await failureOf(() => model.complete("The", { responseFormat: alike }))).message).toContain(
      "got a schema of valibot",
    );
    expect(await failureOf(() => model.complete("The", { responseFormat: misplaced }))).toEqual({
      code: "INVALID_ARGUMENT",
      message: "responseFormat.schema: expected a JSON schema, got a schema of zod: pass it as responseFormat itself",
    });
    const wrong = { type: "json_schema", schema: json, validate: () => true } as never;
    expect(await failureOf(() => model.complete("The", { responseFormat: wrong }))).toEqual({
      code: "INVALID_ARGUMENT",
      message: "responseFormat.validate: expected a schema with ~standard.validate, got a function",
    });
    // JSON of a request cannot be a schema, because it has no functions.
    const posted = { "~standard": { version: 1, vendor: "x", validate: "x" } } as never;
    expect(await failureOf(() => model.complete("The", { responseFormat: posted }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("responseFormat.type"),
    });
  });
});
