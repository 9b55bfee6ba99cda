// Compiles a JSON schema to a grammar of the documents that satisfy it.
import { describe, HeddleError } from "../core/errors.ts";
import { isObject } from "../core/is-object.ts";
import { type JsonType, typeOfValue } from "../core/json-type.ts";
import { atOnce, type Slices } from "../core/slices.ts";
import type { JsonValue } from "../io/json.ts";
import {
  type All,
  Combiner,
  type Facts,
  factsOf,
  hasType,
  noFacts,
  propertyOf,
  schemasOf,
  typesAllowed,
} from "./facts.ts";
import { type Grammar, GrammarBuilder, recursion } from "./grammar.ts";
import { JsonRules, type ObjectRule } from "./json-rules.ts";
import { limits, tooLarge, unsupported, Work } from "./limits.ts";
import { isMultiple } from "./multiples.ts";
import { isEmpty } from "./regular.ts";
import { type Keyword, keywordsOf, SchemaDocument } from "./schema.ts";
import { Automata, PART, SCHEMA } from "./value-automata.ts";

/**
 * Compiles a schema to a grammar of the documents that satisfy it. Properties come in the schema's order. White space
 * is nothing, one space, or a line break with an indentation. A missing `type` is inferred from the keywords. If there
 * are `properties`, other properties are allowed only with `additionalProperties`. `oneOf` is treated as `anyOf`.
 * @param schema a JSON schema (drafts 4 to 2020-12, but exclusive bounds must be numbers), as plain data
 * @throws HeddleError INVALID_ARGUMENT for a schema that is invalid, unsatisfiable or beyond a limit; UNSUPPORTED for
 * an unsupported keyword, with its JSON pointer
 */
export function compileSchema(schema: unknown): Grammar {
  return atOnce(compiling(schema));
}

function* compiling(schema: unknown): Slices<Grammar> {
  const work = new Work();
  return yield* compileDocument(yield* SchemaDocument.read(schema, work), work);
}

/** Compiles a schema that has been read. @param work the budget of the compilation */
export function* compileDocument(document: SchemaDocument, work: Work): Slices<Grammar> {
  const builder = new GrammarBuilder("schema", work);
  const rule = yield* new SchemaCompiler(document, builder).rule();
  return yield* builder.finish(rule);
}

type Keywords = ReadonlyMap<Keyword, JsonValue>;

/**
 * Compiles the schemas of one document to rules of a grammar. Schemas are identified by their object in the document.
 */
export class SchemaCompiler {
  private readonly document: SchemaDocument;
  private readonly builder: GrammarBuilder;
  private readonly work: Work;
  private readonly rules: JsonRules;
  private readonly combiner: Combiner;
  /** The constraining keywords of each schema. */
  private readonly keywords = new Map<JsonValue, Keywords>();
  /** The schema that each reference leads to, through further references. */
  private readonly targets = new Map<JsonValue, JsonValue>();
  /** A number that identifies each schema. The keys of `known` consist of these numbers. */
  private readonly numbers = new Map<JsonValue, number>();
  /** Rules of conjunctions of schemas. */
  private readonly known = new Map<string, number>();
  /** Rules of strings, numbers, booleans and null, by their constraints. */
  private readonly shared = new Map<string, number>();
  private readonly automata: Automata;
  /** Rules that have no nodes yet. */
  private readonly waiting: { rule: number; all: All }[] = [];
  /** The alternatives of each schema. */
  private readonly expanded = new Map<JsonValue, readonly Facts[]>();

  /** @param builder builds the grammar. All schemas of a grammar share it, and its budget of work */
  constructor(document: SchemaDocument, builder: GrammarBuilder) {
    this.document = document;
    this.builder = builder;
    this.work = builder.work;
    this.rules = new JsonRules(builder);
    this.combiner = new Combiner((work) => this.spend(work));
    this.automata = new Automata(document.name, this.work);
  }

  /** Returns the rule of documents that satisfy this schema and all of `others`. */
  *rule(others: readonly JsonValue[] = []): Slices<number> {
    const { root, name } = this.document;
    if (typeof root !== "boolean" && !isObject(root))
      throw new HeddleError("INVALID_ARGUMENT", `${name}: expected an object, true or false, got ${describe(root)}`);
    const start = yield* this.ruleOf([...others, root]);
    yield* this.fillAll();
    return start;
  }

  /** Returns the alternatives of documents that satisfy this schema and all of `others`. */
  *alternativesOfRoot(others: readonly JsonValue[]): Slices<readonly Facts[]> {
    return yield* this.alternatives([...others, this.document.root], []);
  }

  /** Expands a conjunction of parts of the schema into alternatives. */
  *alternativesOfAll(all: All): Slices<readonly Facts[]> {
    return yield* this.alternatives(all, []);
  }

  /** Returns the rules of the values that `facts` allows. */
  *rulesFor(facts: Facts): Slices<number[]> {
    const rules = yield* this.rulesOf(facts);
    yield* this.fillAll();
    return rules;
  }

  private *fillAll(): Slices<void> {
    for (let next = this.waiting.pop(); next; next = this.waiting.pop()) {
      yield* this.fill(next.rule, next.all);
      if (this.work.isDue) yield;
    }
  }

  private spend(work: number): void {
    this.work.spend(work, this.document.name);
  }

  private where(schema: JsonValue): string {
    return typeof schema === "object" && schema !== null ? this.document.where(schema) : this.document.name;
  }

  private keywordsOf(schema: JsonValue): Keywords {
    let found = this.keywords.get(schema);
    if (!found) {
      if (!isObject(schema))
        throw new HeddleError("INVALID_ARGUMENT", `${this.where(schema)}: expected a schema, got ${describe(schema)}`);
      found = keywordsOf(schema, () => this.where(schema));
      this.spend(SCHEMA + PART * found.size);
      this.keywords.set(schema, found);
    }
    return found;
  }

  /** Returns the rule of the values that satisfy all schemas of `all`. The same schemas get the same rule, so recursion ends. */
  private *ruleOf(all: All): Slices<number> {
    this.spend(SCHEMA + PART * all.length);
    if (this.work.isDue) yield;
    const numbers = new Set<number>();
    const schemas: JsonValue[] = [];
    for (const one of all) {
      const schema = yield* this.target(one);
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

  /** Follows a schema that only refers to another. Each reference is followed once. */
  private *target(schema: JsonValue): Slices<JsonValue> {
    const passed = new Set<JsonValue>();
    let at = schema;
    while (isObject(at)) {
      const known = this.targets.get(at);
      if (known !== undefined) {
        at = known;
        break;
      }
      const keywords = this.keywordsOf(at);
      const reference = keywords.get("$ref");
      if (reference === undefined || keywords.size > 1) break;
      if (passed.has(at)) throw recursion(this.where(at));
      passed.add(at);
      at = this.referred(at, reference);
      if (this.work.isDue) yield;
    }
    for (const one of passed) this.targets.set(one, at);
    return at;
  }

  private referred(schema: JsonValue, reference: JsonValue): JsonValue {
    this.spend(SCHEMA);
    return this.document.resolve(reference, () => `${this.where(schema)}/$ref`);
  }

  private *fill(rule: number, all: All): Slices<void> {
    const rules = new Set<number>();
    const branches = all.length === 1 ? this.branches(all[0]!) : undefined;
    if (branches) for (const branch of branches) rules.add(yield* this.ruleOf([branch]));
    else
      for (const facts of yield* this.alternatives(all, []))
        for (const one of yield* this.rulesOf(facts)) rules.add(one);
    this.rules.either([...rules], rule);
  }

  /** Returns the alternatives of a schema whose only keyword is anyOf or oneOf. Each becomes a separate rule, so they may be recursive. */
  private branches(schema: JsonValue): JsonValue[] | undefined {
    if (!isObject(schema)) return undefined;
    const keywords = this.keywordsOf(schema);
    if (keywords.size !== 1) return undefined;
    for (const keyword of ["anyOf", "oneOf"] as const)
      if (keywords.has(keyword)) return schemasOf(keywords.get(keyword), `${this.where(schema)}/${keyword}`);
    return undefined;
  }

  /** Expands a conjunction of schemas into alternatives that have no `COMBINATIONS`. @param within the schemas that are being expanded */
  private *alternatives(all: All, within: readonly JsonValue[]): Slices<readonly Facts[]> {
    let facts: readonly Facts[] = [noFacts];
    const seen = new Set<JsonValue>();
    for (const one of all) {
      const schema = yield* this.target(one);
      if (seen.has(schema)) continue;
      seen.add(schema);
      facts = yield* this.combined(facts, yield* this.alternativesOf(schema, within));
    }
    return facts;
  }

  private *alternativesOf(schema: JsonValue, within: readonly JsonValue[]): Slices<readonly Facts[]> {
    if (schema === true) return [noFacts];
    if (schema === false) return [];
    const before = this.expanded.get(schema);
    if (before) return before;
    if (within.includes(schema)) throw recursion(this.where(schema));
    if (within.length > limits.depth) throw tooLarge(this.where(schema), limits.depth, "schemas within each other");
    const keywords = this.keywordsOf(schema);
    const where = this.where(schema);
    const inner = [...within, schema];
    this.spend(SCHEMA + PART * inner.length);
    let facts: readonly Facts[] = [this.ownFacts(keywords, where)];
    const reference = keywords.get("$ref");
    const parts = reference === undefined ? [] : [this.referred(schema, reference)];
    for (const part of schemasOf(keywords.get("allOf"), `${where}/allOf`)) parts.push(part);
    facts = yield* this.combined(facts, yield* this.alternatives(parts, inner));
    for (const keyword of ["anyOf", "oneOf"] as const) {
      if (!keywords.has(keyword)) continue;
      const any = schemasOf(keywords.get(keyword), `${where}/${keyword}`);
      facts = yield* this.combined(facts, yield* this.anyOf(any, inner));
    }
    this.expanded.set(schema, facts);
    return facts;
  }

  /**
   * Returns the facts of a schema's keywords other than `COMBINATIONS`. If there are none, returns `noFacts`, so that no objects are
   * copied.
   */
  private ownFacts(keywords: Keywords, where: string): Facts {
    for (const keyword of keywords.keys())
      if (!COMBINATIONS.has(keyword)) {
        this.spend(PART * partsOf(keywords));
        return factsOf(keywords, where, this.combiner);
      }
    return noFacts;
  }

  /** Returns the alternatives of several schemas together, without duplicates. */
  private *anyOf(schemas: readonly JsonValue[], within: readonly JsonValue[]): Slices<readonly Facts[]> {
    const out = new Set<Facts>();
    const seen = new Set<JsonValue>();
    for (const one of schemas) {
      const schema = yield* this.target(one);
      this.spend(PART);
      if (seen.has(schema)) continue;
      seen.add(schema);
      const found = yield* this.alternativesOf(schema, within);
      this.spend(PART * found.length);
      for (const facts of found) out.add(facts);
      if (this.work.isDue) yield;
      if (out.size > limits.alternatives) throw this.tooManyAlternatives();
    }
    return [...out];
  }

  private tooManyAlternatives(): HeddleError {
    return tooLarge(this.document.name, limits.alternatives, "alternatives of one schema");
  }

  private *combined(some: readonly Facts[], others: readonly Facts[]): Slices<readonly Facts[]> {
    if (some.length === 1 && some[0] === noFacts) return others;
    if (some.length * others.length > limits.alternatives) throw this.tooManyAlternatives();
    const out = new Set<Facts>();
    for (const a of some)
      for (const b of others) {
        out.add(this.combiner.both(a, b));
        if (this.work.isDue) yield;
      }
    return [...out];
  }

  /** Returns the rules of the values that `facts` allows: one rule for listed values, otherwise one per type. */
  private *rulesOf(facts: Facts): Slices<number[]> {
    const types = typesAllowed(facts);
    this.spend(SCHEMA);
    if (this.work.isDue) yield;
    if (facts.values) {
      const values: JsonValue[] = [];
      for (const value of facts.values) {
        this.spend(PART);
        if (this.work.isDue) yield;
        if (hasType(types, value) && (yield* this.allows(facts, value))) values.push(value);
      }
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

  private *ruleOfType(type: JsonType, facts: Facts): Slices<number | undefined> {
    switch (type) {
      case "null":
        return yield* this.sharedRule("null", () => this.rules.literals([null]));
      case "boolean":
        return yield* this.sharedRule("boolean", () => this.rules.literals([true, false]));
      case "string":
        return yield* this.stringRule(facts);
      case "array":
        return yield* this.arrayRule(facts);
      case "object":
        return yield* this.objectRule(facts);
      default: {
        const integer = type === "integer";
        const { key, dfa } = yield* this.automata.numbers(facts, integer);
        return isEmpty(dfa) ? undefined : yield* this.sharedRule(key, () => this.rules.plain(dfa));
      }
    }
  }

  private *sharedRule(key: string, make: () => Slices<number>): Slices<number> {
    let rule = this.shared.get(key);
    if (rule === undefined) {
      rule = yield* make();
      this.shared.set(key, rule);
    }
    return rule;
  }

  private *stringRule(facts: Facts): Slices<number | undefined> {
    const { minLength, maxLength } = facts;
    const key = this.automata.stringKey(facts);
    const dfa = yield* this.automata.strings(facts, key);
    if (dfa) return isEmpty(dfa) ? undefined : yield* this.sharedRule(key, () => this.rules.stringOf(dfa));
    let rule = this.shared.get(key);
    if (rule === undefined) {
      rule = this.rules.string(minLength, maxLength);
      this.shared.set(key, rule);
    }
    return rule;
  }

  private *arrayRule({ prefix, items, minItems, maxItems }: Facts): Slices<number> {
    const rules: number[] = [];
    for (const all of prefix) rules.push(yield* this.ruleOf(all));
    const rest = yield* this.ruleOf(items ?? []);
    return yield* this.rules.array({ prefix: rules, rest, least: minItems, most: maxItems });
  }

  private *objectRule(facts: Facts): Slices<number> {
    const { properties, additional, closed, required, minProperties, maxProperties } = facts;
    this.spend(PART * (properties.size + required.length));
    const names = [...properties.keys(), ...required.filter((name) => !properties.has(name))];
    const isRequired = new Set(required);
    const isOpen =
      additional !== undefined ? additional.every((one) => one !== false) : properties.size === 0 && !closed;
    const all: ObjectRule["properties"][number][] = [];
    for (const name of names) {
      const rule = yield* this.ruleOf(propertyOf(facts, name));
      all.push({ name, rule, required: isRequired.has(name) });
      if (this.work.isDue) yield;
    }
    return yield* this.rules.object({
      properties: all,
      additional: isOpen ? yield* this.ruleOf(additional ?? []) : undefined,
      least: minProperties,
      most: maxProperties,
    });
  }

  /** Whether a value of `enum` or `const` that has an allowed type satisfies the other keywords. */
  private *allows(facts: Facts, value: JsonValue): Slices<boolean> {
    const type = typeOfValue(value);
    if (type === "string") {
      return yield* this.automata.acceptsString(facts, value as string);
    }
    if (type === "integer" || type === "number") {
      const { low, high, multiples } = facts;
      this.spend(multiples.length);
      const v = value as number;
      return (
        (!low || (low.exclusive ? v > low.value : v >= low.value)) &&
        (!high || (high.exclusive ? v < high.value : v <= high.value)) &&
        multiples.every((multiple) => isMultiple(v, multiple))
      );
    }
    if ((type === "object" || type === "array") && facts.implied.has(type))
      throw unsupported(facts.where, `an ${type} in enum or const together with keywords of ${type}s`);
    return true;
  }
}

/** Keywords that only combine other schemas. */
const COMBINATIONS: ReadonlySet<Keyword> = new Set(["$ref", "allOf", "anyOf", "oneOf"]);

/** Counts the entries of the keywords that list properties, names, values or schemas. The work of `factsOf` grows with it. */
function partsOf(keywords: Keywords): number {
  let count = 0;
  for (const keyword of ["properties", "required", "enum", "type", "items", "prefixItems"] as const) {
    const value = keywords.get(keyword);
    if (Array.isArray(value)) count += value.length;
    else if (isObject(value)) count += keyword === "properties" ? Object.keys(value).length : 1;
  }
  return count;
}
