// Bounds the cost of compiling and using hostile schemas that try to keep the server busy.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Automaton, Constraint, compiledAhead, compileSchema, type JsonSchema } from "../../lib/constrain/index.ts";
import { HeddleError } from "../../lib/core/errors.ts";
import { longestTurn, saysTurns } from "../helpers/clock.ts";
import { attacks } from "./attacks.ts";

interface Cost {
  /** CPU time in milliseconds. */
  cpu: number;
  /** The longest turn of the event loop, in milliseconds. */
  turn: number;
  /** Peak growth of the heap, in MiB. */
  megabytes: number;
}

/** Maximum cost of any schema. */
const MOST: Cost = { cpu: 1000, turn: 50, megabytes: 256 };

/** Measures the cost of some work. */
async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const heap = process.memoryUsage().heapUsed;
  let peak = heap;
  const look = () => {
    peak = Math.max(peak, process.memoryUsage().heapUsed);
  };
  const timer = setInterval(look, 5);
  let cpu = 0;
  const timed = async () => {
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    cpu = (user + system) / 1000;
    look();
  };
  let turn = 0;
  if (saysTurns) turn = await longestTurn(timed);
  else await timed();
  clearInterval(timer);
  return { cpu, turn, megabytes: (peak - heap) / 2 ** 20 };
}

/** Checks the cost of some work. Retries, because other load on the machine can inflate it. */
async function expectWithin(work: () => Promise<unknown>, most: Cost, about?: string): Promise<void> {
  const keys = ["cpu", "turn", "megabytes"] as const;
  const least = await costOf(work);
  for (let i = 0; i < 8 && keys.some((key) => least[key] > most[key]); i++) {
    const cost = await costOf(work);
    for (const key of keys) least[key] = Math.min(least[key], cost[key]);
  }
  for (const key of keys)
    expect(least[key], about === undefined ? key : `${key} ${about}`).toBeLessThanOrEqual(most[key]);
}

/** Compiles a schema in slices. @returns the code of a typed error, or "compiled" */
async function outcome(schema: unknown): Promise<string> {
  try {
    await compiledAhead({ responseFormat: { type: "json_schema", schema: schema as JsonSchema } });
    return "compiled";
  } catch (error) {
    if (error instanceof HeddleError) return error.code;
    throw error;
  }
}

const outcomes = /^(?:compiled|INVALID_ARGUMENT|UNSUPPORTED)$/;

/**
 * The schema without a limit on turns: JavaScript lists all keys of an object at once, which cannot be sliced. The server allows
 * 16,384 keys per object (JSON_LIMITS). test/serve/http/large-bodies.test.ts measures the turns of objects just below that limit.
 */
const indivisible = "400,000 unknown keywords";

describe("compiling a hostile schema", () => {
  const all = Object.entries(attacks);

  test.each(all)(
    "succeeds or throws a typed error within a second, 256 MB and turns of 50 ms: %s",
    async (name, make) => {
      const schema = make();
      expect(JSON.stringify(schema).length).toBeLessThan(5e6);
      let said = "";
      const compile = async () => {
        said = await outcome(schema);
      };
      await expectWithin(compile, name === indivisible ? { ...MOST, turn: Number.POSITIVE_INFINITY } : MOST);
      expect(said).toMatch(outcomes);
    },
  );

  test.each([
    "allOf doubled 28 times",
    ...all.flatMap(([name]) => (name.startsWith("allOf doubled 40") ? [name] : [])),
    "a chain of references for thousands of properties",
  ])("succeeds if the schema only looks large: %s", async (name) => {
    expect(await outcome(attacks[name]!())).toBe("compiled");
  });
});

/** Tokens of several bytes: parts of JSON and of words. */
const words = [
  '{"',
  '":',
  '","',
  '"}',
  '["',
  '"]',
  "[[",
  "]]",
  "{}",
  "null",
  "true",
  "12",
  " the",
  "ing",
  "aaaa",
  '{"d1',
];
/** The texts of the tokens: every single byte, and `words`. */
const texts = [...Array.from({ length: 256 }, (_, byte) => Buffer.from([byte])), ...words.map((w) => Buffer.from(w))];
const tokens = {
  vocabSize: texts.length,
  addedTokens: [],
  joinsBytes: true,
  tokenBytes: (id: number) => texts[id]!,
};

/** Generates tokens that a schema allows. Each number selects an allowed token. */
async function generate(automaton: Automaton, choices: Iterable<number>): Promise<void> {
  const constraint = new Constraint(automaton, { tokens, vocabSize: texts.length, ends: new Set() });
  for (const choice of choices) {
    if (constraint.finished) break;
    const mask = (await constraint.mask())!;
    const forbidden = new Set("forbidden" in mask ? mask.forbidden : []);
    const allowed = "allowed" in mask ? [...mask.allowed] : [...texts.keys()].filter((id) => !forbidden.has(id));
    constraint.accept(allowed[choice % allowed.length]!);
  }
}

/** As `generate`. @returns the code of a typed error, or "written" */
async function write(automaton: Automaton, choices: readonly number[]): Promise<string> {
  try {
    await generate(automaton, choices);
    return "written";
  } catch (error) {
    if (error instanceof HeddleError) return error.code;
    throw error;
  }
}

describe("generation with a hostile schema that compiles", () => {
  const choices = Array.from({ length: 24 }, (_, i) => 7 * i + 3);
  const compiled = Object.entries(attacks).flatMap(([name, make]) => {
    try {
      return [[name, compileSchema(make())] as const];
    } catch {
      return [];
    }
  });

  test.each(compiled)("takes at most a second for 24 tokens, in turns of at most 50 ms: %s", async (_, grammar) => {
    let said = "";
    const walk = async () => {
      said = await write(new Automaton(grammar), choices);
    };
    await expectWithin(walk, MOST);
    expect(said).toMatch(/^(?:written|UNSUPPORTED)$/);
  });

  test("throws if each token takes too long", async () => {
    const lengths = Array.from({ length: 3000 }, (_, i) => ({ type: "string", maxLength: 900 + i }));
    const automaton = new Automaton(compileSchema({ anyOf: lengths }));
    const letters = Array.from({ length: 800 }, () => 0x41);
    // The first choice is the quotation mark, the only allowed token. Then come 800 letters, so the string is never closed.
    let taken = 0;
    const choices = function* () {
      for (const choice of [0, ...letters]) {
        taken++;
        yield choice;
      }
    };
    await expect(generate(automaton, choices())).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringContaining("too many alternatives are open at one place"),
    });
    // The initial work budget for masks (constraint.ts) lasts for a few tokens, so the error does not come at once.
    expect(taken).toBeGreaterThan(5);
  });

  test("evicts states once they take too much memory", () => {
    const lengths = Array.from({ length: 500 }, (_, i) => ({ type: "string", maxLength: 9000 + i }));
    const automaton = new Automaton(compileSchema({ anyOf: lengths }));
    let state = automaton.start;
    let largest = 0;
    for (const byte of Buffer.from(`"${"x".repeat(3000)}`)) {
      state = automaton.step(state, byte)!;
      largest = Math.max(largest, automaton.size);
    }
    expect(largest).toBeGreaterThan(8 << 20);
    expect(largest).toBeLessThanOrEqual(32 << 20);
  });
});

/** Returns a random integer of at least 0 and less than `below`. */
type Random = (below: number) => number;

/** Generates a random schema with arbitrary sizes, references and combinations. @param levels maximum nesting */
function wild(random: Random, levels: number): unknown {
  const pick = <T>(...of: T[]): T => of[random(of.length)]!;
  const list = <T>(most: number, make: () => T): T[] => Array.from({ length: 1 + random(most) }, make);
  const inner = (): unknown => wild(random, levels - 1);
  const size = () => pick(random(4), random(4), random(5000), 1e9, 1e15, 2 ** 53, 1e300);
  const number = () => pick(random(100), -random(1e9), random(1e9) / 997, 1e-7, 1e15, 1e300);
  const name = () => pick("a", "b", "ab", "name", "é\n", `n${random(1000)}`, "x".repeat(random(200)));
  const atom = () => pick("a", ".", "[^a]", "\\w", "\\S", "(?:ab|c)", "[é-ö]", "(a|b)", "x", "\\u{1F600}");
  const quantifier = () => pick("", "", "*", "+", "?", "{3}", "{0,40}", `{${random(900)},}`, "{2,900}");
  const pattern = () => {
    const text = list(5, () => atom() + quantifier()).join("");
    return pick(text, `^${text}$`, `^(?:${text}){1,${1 + random(30)}}$`, `(?:${text}|x)*`);
  };
  const value = () => pick<unknown>(null, true, random(1000), name(), [1, [name()]], { [name()]: [2, "x"] });
  const reference = () => ({ $ref: `#/$defs/d${random(9)}` });
  if (levels === 0 || random(6) === 0)
    return pick<unknown>(true, reference(), reference(), { type: "string" }, { const: value() });
  const kinds: (() => object)[] = [
    () => ({
      type: "object",
      properties: Object.fromEntries(list(pick(3, 60), () => [name(), inner()])),
      ...pick<object>({}, { required: list(9, name) }, { additionalProperties: inner() }),
      ...pick<object>({}, {}, { minProperties: random(9) }, { maxProperties: size() }),
    }),
    () => ({ type: "array", ...pick<object>({ items: inner() }, { prefixItems: list(20, inner) }) }),
    () => ({ type: "array", items: inner(), ...pick<object>({ minItems: size() }, { maxItems: size() }) }),
    () => ({ type: "string", ...pick<object>({ minLength: size() }, { maxLength: size() }) }),
    () => ({ type: "string", pattern: pattern(), ...pick<object>({}, { maxLength: size() }) }),
    () => ({ type: "string", format: pick("date", "time", "uri", "email", "ipv6", "hostname") }),
    () => ({ type: pick("integer", "number"), minimum: number(), ...pick<object>({}, { exclusiveMaximum: number() }) }),
    () => ({ type: "integer", multipleOf: pick(1 + random(5000), 1e13, 997), minimum: number() }),
    () => ({ enum: list(pick(5, 300), value) }),
    () => ({
      [pick("anyOf", "oneOf")]: list(pick(4, 40), inner),
      ...pick<object>({}, { type: "object" }, reference()),
    }),
    () => ({ allOf: list(pick(2, 9), () => pick<unknown>(reference(), inner())) }),
  ];
  return pick(...kinds)();
}

test("compiles or rejects a random schema within a second, and generates 12 tokens within another", {
  timeout: 300_000,
}, async () => {
  const counts = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      let state = seed;
      const random: Random = (below) => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const $defs = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`d${i}`, wild(random, 2)]));
      const root = wild(random, 3);
      const schema = { ...(typeof root === "object" ? root : {}), $defs };
      let said = "";
      const compile = async () => {
        said = await outcome(schema);
      };
      await expectWithin(compile, MOST, JSON.stringify(schema));
      expect(said).toMatch(outcomes);
      counts.set(said, (counts.get(said) ?? 0) + 1);
      if (said !== "compiled") return;
      const automaton = new Automaton(compileSchema(schema));
      const choices = Array.from({ length: 12 }, () => random(999));
      const walk = async () => expect(await write(automaton, choices)).toMatch(/^(?:written|UNSUPPORTED)$/);
      await expectWithin(walk, MOST, JSON.stringify(schema));
    }),
    { numRuns: 150, endOnFailure: true },
  );
  // Both outcomes must occur.
  for (const said of ["compiled", "INVALID_ARGUMENT"]) expect(counts.get(said) ?? 0, said).toBeGreaterThan(10);
});
