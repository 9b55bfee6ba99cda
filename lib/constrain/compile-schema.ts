// From a JSON schema to a grammar of the documents that satisfy it.
import { describe, HeddleError } from "../errors.ts";
import { atOnce, type Slices } from "../tokenizer/slices.ts";
import {
  type All,
  both,
  type Facts,
  factsOf,
  hasType,
  noFacts,
  schemasOf,
  type TypeName,
  typeOf,
  typesAllowed,
} from "./facts.ts";
import { formats } from "./formats.ts";
import { type Grammar, GrammarBuilder, recursion } from "./grammar.ts";
import { JsonRules, type ObjectRule } from "./json-rules.ts";
import { limits, tooLarge, unsupported } from "./limits.ts";
import { numberDfa } from "./numbers.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { accepts, Budget, type Dfa, dfaInSlices, intersectInSlices, isEmpty, lengthDfa } from "./regular.ts";
import { isObject, type JsonValue, type Keyword, keywordsOf, SchemaDocument } from "./schema.ts";

/**
 * The documents that satisfy a schema, as a grammar. Properties come in the schema's order; white space is nothing, one space or a line
 * end with an indentation. Where `type` is missing, its keywords say it; properties that a schema with `properties` does not name come
 * only with `additionalProperties`; `oneOf` is read as `anyOf`.
 * @param schema a JSON schema (drafts 4 to 2020-12), as plain data
 * @throws HeddleError INVALID_ARGUMENT for what is no schema, exceeds a limit, or no document satisfies; UNSUPPORTED for a keyword, by its pointer
 */
export function compileSchema(schema: unknown): Grammar {
  return atOnce(compileDocument(new SchemaDocument(schema)));
}

/** The same of a schema that has been read. */
export function* compileDocument(document: SchemaDocument): Slices<Grammar> {
  const builder = new GrammarBuilder("schema");
  const rule = yield* new SchemaCompiler(document, sharedWork(builder)).rule();
  return yield* builder.finish(rule);
}

/** What the schemas of one grammar share: its nodes, and how much work they may take together. */
export interface SharedWork {
  readonly builder: GrammarBuilder;
  readonly budget: Budget;
  steps: number;
}

export function sharedWork(builder: GrammarBuilder): SharedWork {
  return { builder, budget: new Budget(), steps: 0 };
}

type Keywords = ReadonlyMap<Keyword, JsonValue>;

export class SchemaCompiler {
  private readonly document: SchemaDocument;
  private readonly work: SharedWork;
  private readonly builder: GrammarBuilder;
  private readonly budget: Budget;
  private readonly rules: JsonRules;
  private readonly keywords = new Map<JsonValue, Keywords>();
  private readonly numbers = new Map<JsonValue, number>();
  private readonly known = new Map<string, number>();
  private readonly shared = new Map<string, number>();
  private readonly automata = new Map<string, Dfa>();
  private readonly waiting: { rule: number; all: All }[] = [];
  private readonly looked = new Map<JsonValue, Facts[]>();

  constructor(document: SchemaDocument, work: SharedWork) {
    this.document = document;
    this.work = work;
    this.builder = work.builder;
    this.budget = work.budget;
    this.rules = new JsonRules(work.builder);
  }

  /** The rule of what satisfies the schema, and others beside it. */
  *rule(others: readonly JsonValue[] = []): Slices<number> {
    const { root, name } = this.document;
    if (typeof root !== "boolean" && !isObject(root))
      throw new HeddleError("INVALID_ARGUMENT", `${name}: expected an object, true or false, got ${describe(root)}`);
    const start = this.ruleOf([...others, root]);
    for (let next = this.waiting.pop(); next; next = this.waiting.pop()) {
      yield* this.fill(next.rule, next.all);
      yield;
    }
    return start;
  }

  private spend(work: number): void {
    this.work.steps += work;
    if (this.work.steps > limits.mergeSteps)
      throw tooLarge(this.document.name, limits.mergeSteps, "steps to combine its schemas");
  }

  private where(schema: JsonValue): string {
    return typeof schema === "object" && schema !== null ? this.document.where(schema) : this.document.name;
  }

  private keywordsOf(schema: JsonValue): Keywords {
    let found = this.keywords.get(schema);
    if (!found) {
      if (!isObject(schema))
        throw new HeddleError("INVALID_ARGUMENT", `${this.where(schema)}: expected a schema, got ${describe(schema)}`);
      found = keywordsOf(schema, this.where(schema));
      this.keywords.set(schema, found);
    }
    return found;
  }

  /** The rule of what satisfies all of some schemas: one for the same ones, so that recursion comes to an end. */
  private ruleOf(all: All): number {
    const numbers = new Set<number>();
    const schemas: JsonValue[] = [];
    for (const one of all) {
      const schema = this.target(one);
      if (schema === true || (isObject(schema) && this.keywordsOf(schema).size === 0)) continue;
      let number = this.numbers.get(schema);
      if (number === undefined) {
        number = this.numbers.size;
        this.numbers.set(schema, number);
      }
      if (numbers.has(number)) continue;
      numbers.add(number);
      schemas.push(schema);
    }
    const key = [...numbers].sort((a, b) => a - b).join();
    let rule = this.known.get(key);
    if (rule === undefined) {
      rule = this.builder.rule();
      this.known.set(key, rule);
      this.waiting.push({ rule, all: schemas });
    }
    return rule;
  }

  /** What a schema that only refers to another refers to. */
  private target(schema: JsonValue): JsonValue {
    const passed = new Set<JsonValue>();
    let at = schema;
    while (isObject(at)) {
      const keywords = this.keywordsOf(at);
      const reference = keywords.get("$ref");
      if (reference === undefined || keywords.size > 1) break;
      if (passed.has(at)) throw recursion(this.where(at));
      passed.add(at);
      at = this.document.resolve(reference, `${this.where(at)}/$ref`);
    }
    return at;
  }

  private *fill(rule: number, all: All): Slices<void> {
    const branches = all.length === 1 ? this.branches(all[0]!) : undefined;
    const rules = branches?.map((branch) => this.ruleOf([branch])) ?? [];
    if (!branches) for (const facts of this.alternatives(all, [])) rules.push(...(yield* this.rulesOf(facts)));
    this.rules.either([...new Set(rules)], rule);
  }

  /** The alternatives of a schema that says nothing else: they may be recursive. */
  private branches(schema: JsonValue): JsonValue[] | undefined {
    if (!isObject(schema)) return undefined;
    const keywords = this.keywordsOf(schema);
    if (keywords.size !== 1) return undefined;
    for (const keyword of ["anyOf", "oneOf"] as const)
      if (keywords.has(keyword)) return schemasOf(keywords.get(keyword), `${this.where(schema)}/${keyword}`);
    return undefined;
  }

  /** What satisfies all of some schemas, as alternatives without combinations. @param within schemas that are being looked at */
  private alternatives(all: All, within: readonly JsonValue[]): Facts[] {
    return all.reduce((facts: Facts[], schema) => this.combined(facts, this.alternativesOf(schema, within)), [noFacts]);
  }

  private alternativesOf(schema: JsonValue, within: readonly JsonValue[]): Facts[] {
    if (schema === true) return [noFacts];
    if (schema === false) return [];
    const before = this.looked.get(schema);
    if (before) return before;
    if (within.includes(schema)) throw recursion(this.where(schema));
    if (within.length > limits.depth) throw tooLarge(this.where(schema), limits.depth, "schemas within each other");
    const keywords = this.keywordsOf(schema);
    const where = this.where(schema);
    const inner = [...within, schema];
    let facts = [factsOf(keywords, where)];
    const reference = keywords.get("$ref");
    if (reference !== undefined)
      facts = this.combined(facts, this.alternativesOf(this.document.resolve(reference, `${where}/$ref`), inner));
    for (const part of schemasOf(keywords.get("allOf"), `${where}/allOf`))
      facts = this.combined(facts, this.alternativesOf(part, inner));
    for (const keyword of ["anyOf", "oneOf"] as const) {
      if (!keywords.has(keyword)) continue;
      const parts = schemasOf(keywords.get(keyword), `${where}/${keyword}`);
      facts = this.combined(
        facts,
        parts.flatMap((part) => this.alternativesOf(part, inner)),
      );
    }
    this.looked.set(schema, facts);
    return facts;
  }

  private combined(some: readonly Facts[], others: readonly Facts[]): Facts[] {
    if (some.length * others.length > limits.alternatives)
      throw tooLarge(this.document.name, limits.alternatives, "alternatives of one schema");
    const size = (of: Facts) =>
      1 + of.properties.size + of.required.length + (of.values?.length ?? 0) + of.prefix.length;
    return some.flatMap((a) =>
      others.map((b) => {
        if (a !== noFacts) this.spend(size(a) + size(b));
        return both(a, b);
      }),
    );
  }

  /** The rules of what some facts allow, one a type. */
  private *rulesOf(facts: Facts): Slices<number[]> {
    const types = typesAllowed(facts);
    if (facts.values) {
      const values: JsonValue[] = [];
      for (const value of facts.values)
        if (hasType(types, value) && (yield* this.allows(facts, value))) values.push(value);
      return values.length === 0 ? [] : [yield* this.rules.literals(values)];
    }
    const out: number[] = [];
    for (const type of types) {
      if (type === "integer" && types.has("number")) continue;
      const rule = yield* this.ruleOfType(type, facts);
      if (rule !== undefined) out.push(rule);
    }
    return out;
  }

  private *ruleOfType(type: TypeName, facts: Facts): Slices<number | undefined> {
    switch (type) {
      case "null":
        return this.sharedRule("null", () => atOnce(this.rules.literals([null])));
      case "boolean":
        return this.sharedRule("boolean", () => atOnce(this.rules.literals([true, false])));
      case "string":
        return yield* this.stringRule(facts);
      case "array":
        return this.arrayRule(facts);
      case "object":
        return yield* this.objectRule(facts);
      default: {
        const dfa = this.numbersOf(type === "integer", facts);
        return isEmpty(dfa) ? undefined : this.sharedRule(numberKey(type, facts), () => this.rules.plain(dfa));
      }
    }
  }

  private sharedRule(key: string, make: () => number): number {
    let rule = this.shared.get(key);
    if (rule === undefined) {
      rule = make();
      this.shared.set(key, rule);
    }
    return rule;
  }

  private *automaton(key: string, make: () => Slices<Dfa>): Slices<Dfa> {
    let dfa = this.automata.get(key);
    if (!dfa) {
      dfa = yield* make();
      this.automata.set(key, dfa);
    }
    return dfa;
  }

  private numbersOf(integer: boolean, { low, high, multiples, where }: Facts): Dfa {
    const key = numberKey(integer ? "integer" : "number", { low, high, multiples });
    const dfa = this.automata.get(key) ?? numberDfa({ integer, low, high, multiples }, where, this.budget);
    this.automata.set(key, dfa);
    return dfa;
  }

  private *stringRule(facts: Facts): Slices<number | undefined> {
    const { minLength, maxLength } = facts;
    const dfa = yield* this.stringsOf(facts);
    if (dfa) return isEmpty(dfa) ? undefined : this.sharedRule(stringKey(facts), () => this.rules.stringOf(dfa));
    return this.sharedRule(stringKey(facts), () => this.rules.string(minLength, maxLength));
  }

  /** What patterns, formats and, beside them, lengths accept; undefined without patterns and formats. */
  private *stringsOf(facts: Facts): Slices<Dfa | undefined> {
    const { patterns, formats: names, minLength, maxLength } = facts;
    const parts: Dfa[] = [];
    for (const { source, where } of patterns) parts.push(yield* this.patternDfa(source, where));
    for (const { name, where } of names) {
      const source = formats.get(name);
      if (source === undefined)
        throw unsupported(where, `the format ${describe(name)} (${[...formats.keys()].join(", ")} are)`);
      parts.push(yield* this.patternDfa(`^(?:${source})$`, where));
    }
    const [first, ...others] = parts;
    if (!first) return undefined;
    const { budget } = this;
    const { where } = facts;
    return yield* this.automaton(stringKey(facts), function* () {
      let whole = first;
      for (const other of others) whole = yield* intersectInSlices(whole, other, where, budget);
      if (minLength === 0 && maxLength === Number.POSITIVE_INFINITY) return whole;
      const length = yield* lengthDfa(minLength, maxLength, where, budget);
      return yield* intersectInSlices(whole, length, where, budget);
    });
  }

  private patternDfa(source: string, where: string): Slices<Dfa> {
    return this.automaton(`pattern ${source}`, () =>
      dfaInSlices(wholeTexts(parsePattern(source, where), where, { search: true }), "json", where, this.budget),
    );
  }

  private arrayRule({ prefix, items, minItems, maxItems }: Facts): number {
    return this.rules.array({
      prefix: prefix.map((all) => this.ruleOf(all)),
      rest: this.ruleOf(items ?? []),
      least: minItems,
      most: maxItems,
    });
  }

  private *objectRule(facts: Facts): Slices<number> {
    const { properties, additional, required, minProperties, maxProperties } = facts;
    const names = [...properties.keys(), ...required.filter((name) => !properties.has(name))];
    const isRequired = new Set(required);
    const isOpen = additional !== undefined ? additional.every((one) => one !== false) : properties.size === 0;
    const all: ObjectRule["properties"][number][] = [];
    for (const name of names) {
      const rule = this.ruleOf(properties.get(name) ?? additional ?? []);
      all.push({ name, rule, required: isRequired.has(name) });
      yield;
    }
    return yield* this.rules.object({
      properties: all,
      additional: isOpen ? this.ruleOf(additional ?? []) : undefined,
      least: minProperties,
      most: maxProperties,
    });
  }

  /** Whether a value of the right type satisfies the other keywords. */
  private *allows(facts: Facts, value: JsonValue): Slices<boolean> {
    const type = typeOf(value);
    if (type === "string") {
      const length = [...(value as string)].length;
      const dfa = yield* this.stringsOf(facts);
      if (dfa) return accepts(dfa, Buffer.from(JSON.stringify(value).slice(1, -1)));
      return length >= facts.minLength && length <= facts.maxLength;
    }
    if (type === "integer" || type === "number") {
      const { low, high, multiples } = facts;
      const v = value as number;
      return (
        (!low || (low.exclusive ? v > low.value : v >= low.value)) &&
        (!high || (high.exclusive ? v < high.value : v <= high.value)) &&
        multiples.every((multiple) => Number.isInteger(v / multiple))
      );
    }
    if ((type === "object" || type === "array") && facts.implied.has(type))
      throw unsupported(facts.where, `an ${type} in enum or const beside keywords of ${type}s`);
    return true;
  }
}

function numberKey(
  type: "integer" | "number" | TypeName,
  { low, high, multiples }: Pick<Facts, "low" | "high" | "multiples">,
): string {
  return JSON.stringify([type, low, high, multiples]);
}

function stringKey({ patterns, formats: names, minLength, maxLength }: Facts): string {
  return JSON.stringify(["string", patterns.map((p) => p.source), names.map((f) => f.name), minLength, `${maxLength}`]);
}
