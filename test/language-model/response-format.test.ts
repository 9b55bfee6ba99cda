import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Automaton, compileSchema, type ResponseFormat } from "../../lib/constrain/index.ts";
import { type Completion, type GenerateOptions, LanguageModel } from "../../lib/language-model/index.ts";
import { validate } from "../constrain/validator.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const person = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 8 },
    age: { type: "integer", minimum: 0, maximum: 130 },
    tags: { type: "array", items: { enum: ["a", "b", "naïve", "日本"] }, minItems: 1, maxItems: 3 },
    more: { anyOf: [{ type: "null" }, { $ref: "#/$defs/point" }] },
  },
  required: ["name", "age", "more"],
  additionalProperties: false,
  $defs: {
    point: { type: "object", properties: { x: { type: "number", minimum: -1, maximum: 1 } }, required: ["x"] },
  },
} as const;

const schemas = {
  person,
  "an array of numbers": { type: "array", items: { type: "number" }, maxItems: 3 },
  "a date": { type: "string", format: "date" },
  "a pattern": { type: "string", pattern: "^(?:日本|é)+x?$" },
  "a recursive object": {
    type: "object",
    properties: { v: { type: "boolean" }, next: { anyOf: [{ type: "null" }, { $ref: "#" }] } },
    required: ["v", "next"],
  },
  "an object with additional properties": {
    type: "object",
    properties: { a: { const: 1 } },
    additionalProperties: { type: "boolean" },
    maxProperties: 3,
  },
  "an integer": { type: "integer", multipleOf: 7, minimum: -50, maximum: 5000 },
  anything: true,
} as const;

async function model(config: object = {}): Promise<LanguageModel> {
  const tokenizer = await tinyTokenizer();
  return tinyModel({ tokenizer }, { maxPositionEmbeddings: 512, ...config });
}

/** Checks that the text is a prefix of a document, and at "stop" a valid document. */
function check({ text, finishReason, tokens }: Completion, schema: object | boolean, of: LanguageModel): void {
  const automaton = new Automaton(compileSchema(schema));
  if (finishReason === "stop") {
    expect(validate(JSON.parse(text), schema as { [keyword: string]: unknown }), text).toBe(true);
    return;
  }
  // Compare bytes: the text may end within a character.
  const bytes = Buffer.concat(tokens.map((id) => of.tokenizer!.tokenBytes(id)));
  expect(automaton.read(automaton.start, bytes), text).not.toBeNull();
}

const asked = (schema: object | boolean): ResponseFormat => ({ type: "json_schema", schema: schema as never });
const bits = ({ text, tokens, logprobs, finishReason }: Completion) => ({ text, tokens, logprobs, finishReason });

describe("a model with random weights", () => {
  test.each(Object.entries(schemas))(
    '%s: a document is valid at "stop" and a valid prefix at "length"',
    async (_name, schema) => {
      await using m = await model();
      const answers = await m.completeAll(["The cat", "日本", "saw a"], {
        responseFormat: asked(schema),
        ...{ n: 8, maxTokens: 120, temperature: 1.5, seed: 3 },
      });
      for (const answer of answers) check(answer, schema, m);
    },
  );

  test("every document of a bounded schema is finished, and the answer ends with it", async () => {
    await using m = await model();
    const schema = {
      type: "object",
      properties: { ok: { type: "boolean" }, n: { enum: [1, 22] } },
      required: ["ok", "n"],
    };
    const answers = await m.completeAll(["The"], {
      responseFormat: asked(schema),
      n: 8,
      maxTokens: 200,
      temperature: 2,
      seed: 1,
    });
    for (const answer of answers) {
      expect(answer.finishReason).toBe("stop");
      expect(answer.text.endsWith("}")).toBe(true);
      check(answer, schema, m);
    }
    expect(new Set(answers.map(({ text }) => text)).size).toBeGreaterThan(2);
  });

  test("an answer that may continue ends with an end token, and only when it is complete", async () => {
    await using m = await model();
    const responseFormat: ResponseFormat = { type: "regex", pattern: "ab(?:cd)*" };
    const { eosTokenIds } = m.tokenizer!;
    expect(eosTokenIds.length).toBeGreaterThan(0);
    const answers = await m.completeAll(["The"], { responseFormat, n: 24, maxTokens: 30, temperature: 4, seed: 5 });
    for (const { text, tokens, finishReason } of answers) {
      if (finishReason !== "stop") continue;
      expect(text).toMatch(/^ab(cd)*$/);
      expect(eosTokenIds).toContain(tokens.at(-1));
    }
    expect(answers.some(({ finishReason, text }) => finishReason === "stop" && text === "ab")).toBe(true);
  });

  test("supports json_object and OpenAI's nesting of a schema", async () => {
    await using m = await model();
    const options: GenerateOptions = { maxTokens: 60, temperature: 1, seed: 9 };
    const object = await m.complete("The", { ...options, responseFormat: { type: "json_object" } });
    check(object, { type: "object" }, m);
    expect(object.text[0]).toBe("{");
    const plain = await m.complete("The", { ...options, responseFormat: asked(person) });
    const named = { name: "p", schema: person, strict: true };
    for (const responseFormat of [
      { type: "json_schema", json_schema: named },
      { type: "json_schema", jsonSchema: named },
    ] as const)
      expect(bits(await m.complete("The", { ...options, responseFormat }))).toEqual(bits(plain));
  });
});

describe("a format combined with other options", () => {
  const base: GenerateOptions = { responseFormat: asked(person), maxTokens: 60, seed: 11 };
  const cases: [string, GenerateOptions][] = [
    ["greedy", { temperature: 0 }],
    ["top-k of 1", { topK: 1, temperature: 1 }],
    ["top-p and min-p", { topP: 0.5, minP: 0.1, temperature: 1.2 }],
    ["penalties", { temperature: 1, repetitionPenalty: 1.5, presencePenalty: 1, frequencyPenalty: 0.5 }],
    ["biases", { temperature: 1, logitBias: { 5: 4, 100: -3, 7: Number.NEGATIVE_INFINITY } }],
    ["a processor", { temperature: 1, logitProcessors: [(logits) => logits.reverse()] }],
    ["candidates", { temperature: 1, topLogprobs: 5 }],
    ["no end tokens", { temperature: 1, ignoreEos: true }],
    ["deterministic", { temperature: 1, deterministic: true }],
  ];

  test.each(cases)("gives valid documents that depend on the seed only: %s", async (_label, options) => {
    await using m = await model();
    const answers = await m.completeAll(["The cat", "saw"], { ...base, ...options, n: 3 });
    for (const answer of answers) check(answer, person, m);
    // Again, and alone: the draw depends on the seed only.
    const again = await m.completeAll(["The cat"], { ...base, ...options });
    expect(again[0]!.tokens).toEqual(answers[0]!.tokens);
  });

  test("each token equals the one sampled with a processor that forbids the same tokens", async () => {
    await using m = await model();
    const automaton = new Automaton(compileSchema(person));
    const special = new Set(m.tokenizer!.addedTokens.map(({ id }) => id));
    const forbid: GenerateOptions["logitProcessors"] = [
      (logits, { ids, promptLength }) => {
        const before = Buffer.concat(ids.slice(promptLength).map((id) => m.tokenizer!.tokenBytes(id)));
        const state = automaton.read(automaton.start, before)!;
        for (let id = 0; id < logits.length; id++) {
          const bytes = m.tokenizer!.tokenBytes(id);
          const isEnd = m.tokenizer!.eosTokenIds.includes(id);
          const allowed = isEnd
            ? state.whole
            : !special.has(id) && bytes.length > 0 && automaton.read(state, bytes) !== null;
          if (!allowed) logits[id] = Number.NEGATIVE_INFINITY;
        }
      },
    ];
    const { responseFormat: _, ...plain } = base;
    for (const temperature of [0, 1]) {
      const constrained = await m.complete("The", { ...base, temperature });
      const processed = await m.complete("The", {
        ...plain,
        temperature,
        logitProcessors: forbid,
        maxTokens: constrained.tokens.length,
      });
      expect(constrained.tokens).toEqual(processed.tokens);
      // The reported probability is the model's, as without a format.
      for (const [i, logprob] of constrained.logprobs.entries()) expect(logprob).toBeCloseTo(processed.logprobs[i]!, 4);
    }
  });

  test.each([{ promptLookupNumTokens: 6 }, { promptLookupNumTokens: 15 }, "assistant" as const])(
    "speculation returns the same tokens and text: %o",
    async (how) => {
      await using m = await model();
      await using assistant = tinyModel({ tokenizer: await tinyTokenizer(), seed: 8 }, { maxPositionEmbeddings: 512 });
      for (const schema of [person, schemas.anything, schemas["a recursive object"]])
        for (const temperature of [0, 0.8]) {
          const options: GenerateOptions = { responseFormat: asked(schema), maxTokens: 100, temperature, seed: 2 };
          const plain = await m.completeAll(["The cat saw the cat", "dog"], options);
          const speculative = how === "assistant" ? { assistantModel: temperature === 0 ? m : assistant } : how;
          const sooner = await m.completeAll(["The cat saw the cat", "dog"], { ...options, ...speculative });
          expect(sooner.map(bits).map(({ tokens, finishReason, text }) => ({ tokens, finishReason, text }))).toEqual(
            plain.map(bits).map(({ tokens, finishReason, text }) => ({ tokens, finishReason, text })),
          );
          for (const answer of sooner) check(answer, schema, m);
        }
    },
  );

  test('a document that a stop string cuts short ends with "length"; a stop token ends only a complete one', async () => {
    await using m = await model();
    const schema = { type: "array", items: { type: "string" }, minItems: 2 };
    const cut = await m.complete("The", {
      responseFormat: asked(schema),
      stop: ",",
      maxTokens: 400,
      temperature: 1,
      seed: 1,
    });
    expect(cut.text).not.toContain(",");
    expect(cut.finishReason).toBe("length");
    const whole = await m.complete("The", {
      responseFormat: { type: "regex", pattern: "ab(?:END)?" },
      stop: "END",
      temperature: 3,
      seed: 4,
    });
    expect(whole).toMatchObject({ text: "ab", finishReason: "stop" });
    // The stop token "b" is not used within a document, whereas longer tokens with b are. It is allowed only where the document may end.
    const b = m.tokenizer!.tokenToId("b")!;
    const letters: ResponseFormat = { type: "regex", pattern: "[abc]{3,}" };
    const ended = await m.completeAll(["The"], {
      responseFormat: letters,
      stop: [b],
      maxTokens: 40,
      temperature: 4,
      seed: 4,
      n: 4,
    });
    for (const { text, tokens, finishReason } of ended) {
      expect(finishReason).toBe("stop");
      expect(text).toMatch(/^[abc]{3,}$/);
      expect(tokens.slice(0, -1)).not.toContain(b);
    }
    expect(ended.some(({ tokens }) => tokens.at(-1) === b)).toBe(true);
  });

  test("works in a session, a chat, and concurrent calls", async () => {
    await using m = await model();
    using session = m.session();
    const first = await session.complete("The cat", { ...base, temperature: 1 });
    const alone = await m.complete("The cat", { ...base, temperature: 1 });
    expect(first.tokens).toEqual(alone.tokens);
    using chat = m.chat();
    const reply = await chat.send("The bird saw", {
      responseFormat: asked(schemas["a recursive object"]),
      temperature: 1.2,
      maxTokens: 80,
      seed: 1,
    });
    check(reply, schemas["a recursive object"], m);
    const [a, free, b] = await Promise.all([
      m.complete("The cat", { ...base, temperature: 1 }),
      m.complete("The cat", { maxTokens: 20, temperature: 1, seed: 11 }),
      m.complete("日本", { ...base, temperature: 1 }),
    ]);
    expect(a.tokens).toEqual(alone.tokens);
    check(b, person, m);
    expect(free.text).not.toBe(a.text.slice(0, free.text.length));
  });

  test("unconstrained calls keep their bits, before and after a constrained call", async () => {
    await using m = await model();
    const options: GenerateOptions = { maxTokens: 40, temperature: 0.9, seed: 4 };
    const before = bits(await m.complete("The cat", options));
    await m.complete("The cat", base);
    expect(bits(await m.complete("The cat", options))).toEqual(before);
    expect(bits(await m.complete("The cat", { ...options, responseFormat: { type: "text" } }))).toEqual(before);
  });
});

describe.skipIf(!fixtures)("a trained model with a SentencePiece vocabulary", () => {
  test.each(["stories260K", "stories260K/stories260K.F16.gguf"])("gives valid documents: %s", async (path) => {
    await using m = await LanguageModel.load(join(fixtures!, path));
    const schema = {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 12 },
        likes: { enum: ["日本", "海"] },
        age: { type: "integer", minimum: 1, maximum: 99 },
      },
      required: ["name", "likes", "age"],
    };
    const answers = await m.completeAll(["Once upon a time", "Lily"], {
      responseFormat: asked(schema),
      n: 6,
      temperature: 1,
      maxTokens: 150,
      seed: 2,
    });
    for (const answer of answers) check(answer, schema, m);
    expect(answers.filter(({ finishReason }) => finishReason === "stop").length).toBeGreaterThan(6);
    // Characters missing from the vocabulary are written as bytes.
    expect(answers.filter(({ text }) => /日本|海/.test(text)).length).toBeGreaterThan(6);
  });
});

describe("invalid formats", () => {
  test.each<[unknown, string, string]>([
    ["json", "INVALID_ARGUMENT", "responseFormat: expected an object"],
    [{ type: "json" }, "INVALID_ARGUMENT", "responseFormat.type: expected text, json_object, json_schema, regex"],
    [{ type: "json_schema" }, "INVALID_ARGUMENT", "responseFormat.schema: expected a JSON schema, got undefined"],
    [{ type: "json_schema", shema: {} }, "INVALID_ARGUMENT", "nearest: schema"],
    [
      { type: "json_schema", schema: {}, jsonSchema: { schema: {} } },
      "INVALID_ARGUMENT",
      "expected one schema, got two",
    ],
    [{ type: "json_schema", schema: { not: {} } }, "UNSUPPORTED", "schema#/not"],
    [
      { type: "json_schema", schema: { properties: { a: { uniqueItems: true } } } },
      "UNSUPPORTED",
      "schema#/properties/a/uniqueItems",
    ],
    [
      { type: "json_schema", schema: { type: "string", format: "iri" } },
      "UNSUPPORTED",
      'schema#/format: the format "iri"',
    ],
    [{ type: "json_schema", schema: { minLength: -1 } }, "INVALID_ARGUMENT", "schema#/minLength"],
    [{ type: "json_schema", schema: { type: "sting" } }, "INVALID_ARGUMENT", "schema#/type"],
    [
      { type: "json_schema", schema: { $ref: "#/$defs/x" } },
      "INVALID_ARGUMENT",
      "schema#/$ref: expected a location in the schema",
    ],
    [{ type: "json_schema", schema: { $ref: "https://a.b/c" } }, "UNSUPPORTED", "schema#/$ref"],
    [{ type: "json_schema", schema: { type: "integer", minimum: 3, maximum: 2 } }, "INVALID_ARGUMENT", "contradiction"],
    [{ type: "regex", pattern: "(a" }, "INVALID_ARGUMENT", "responseFormat.pattern: expected a )"],
    [{ type: "regex", pattern: "(?=a)" }, "UNSUPPORTED", "look-around"],
    [{ type: "regex" }, "INVALID_ARGUMENT", "responseFormat.pattern: expected a string"],
  ])("are rejected: %o", async (responseFormat, code, message) => {
    await using m = await model();
    const failure = await failureOf(() => m.complete("The", { responseFormat: responseFormat as ResponseFormat }));
    expect(failure.code).toBe(code);
    expect(failure.message).toContain(message);
  });

  test("include any format for a model without a tokenizer; an aborted signal rejects the call too", async () => {
    await using bare = tinyModel();
    expect(await failureOf(() => bare.complete([1], { responseFormat: { type: "json_object" } }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: "responseFormat: expected a model with a tokenizer, got one without",
    });
    await using m = await model();
    const failure = await failureOf(() =>
      m.complete("The", { responseFormat: { type: "json_object" }, signal: AbortSignal.abort() }),
    );
    expect(failure.code).toBe("ABORTED");
  });
});

describe("a pattern that matches only the empty text", () => {
  const ways: [string, GenerateOptions][] = [
    ["with default options", {}],
    ["with beams", { numBeams: 2 }],
    ["with prompt lookup", { promptLookupNumTokens: 4 }],
    ["with ignoreEos", { ignoreEos: true }],
    ["with promptLogprobs", { promptLogprobs: 0 }],
    ["with maxTokens 0", { maxTokens: 0 }],
  ];
  test.each(ways)("gives an empty answer %s", async (_, options) => {
    await using own = await model();
    for (const pattern of ["", "^$", "()", "a{0}"]) {
      const responseFormat: ResponseFormat = { type: "regex", pattern };
      const answer = await own.complete("The cat", { maxTokens: 5, ...options, responseFormat });
      expect(answer, pattern).toMatchObject({ text: "", tokens: [], finishReason: "stop" });
      if (options.promptLogprobs === 0) expect(answer.promptLogprobs!.at(-1)).toBeLessThan(0);
    }
  });

  test("is followed in sessions, chats and batchers, among other calls", async () => {
    await using own = await model();
    const options = { responseFormat: { type: "regex", pattern: "^$" }, promptLogprobs: 0 } as const;
    using session = own.session();
    await using batcher = own.batcher();
    const [of, among, other] = await Promise.all([
      session.complete("The cat", options),
      batcher.complete("The cat", options),
      batcher.complete("The dog", { maxTokens: 9, ignoreEos: true }),
    ]);
    for (const answer of [of, among]) expect(answer).toMatchObject({ text: "", tokens: [], finishReason: "stop" });
    expect(other.tokens).toHaveLength(9);
    const maybe = { type: "regex", pattern: "a?" } as const;
    expect((await own.complete("x", { responseFormat: maybe, maxTokens: 4 })).text).toMatch(/^a?$/);
  });
});
