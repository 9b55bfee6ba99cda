// Automata of the strings and numbers that a schema's keywords allow.
import { describe } from "../core/errors.ts";
import type { Slices } from "../core/slices.ts";
import type { Facts } from "./facts.ts";
import { formatDfa, formatNames } from "./formats.ts";
import { unsupported, type Work } from "./limits.ts";
import { numberDfa } from "./numbers.ts";
import { parsePattern, wholeTexts } from "./pattern.ts";
import { accepts, type Dfa, dfaInSlices, intersectInSlices, lengthDfa } from "./regular.ts";

/** Units of work for a schema. */
export const SCHEMA = 200;
/** Units of work for each keyword of a schema, or each value of a keyword. */
export const PART = 30;

/** Makes automata for one document. The same keywords share one automaton. */
export class Automata {
  private readonly name: string;
  private readonly work: Work;
  private readonly made = new Map<string, Dfa>();

  /** @param name the document's name in messages */
  constructor(name: string, work: Work) {
    this.name = name;
    this.work = work;
  }

  /** Returns the automaton of numbers that satisfy the facts, and its key. */
  *numbers(facts: Facts, integer: boolean): Slices<{ key: string; dfa: Dfa }> {
    const { low, high, multiples, where } = facts;
    const key = this.keyOf([integer ? "integer" : "number", low, high, multiples], multiples.length);
    return { key, dfa: yield* this.shared(key, () => numberDfa({ ...facts, integer }, where, this.work)) };
  }

  /** Returns a key of the facts' keywords for strings. */
  stringKey({ patterns, formats, minLength, maxLength }: Facts): string {
    const sources = patterns.map(({ source }) => source);
    const of = ["string", sources, formats.map(({ name }) => name), minLength, `${maxLength}`];
    return this.keyOf(of, patterns.length + formats.length);
  }

  /** Returns the automaton of patterns, formats and lengths; undefined without patterns and formats. @param key the facts' stringKey */
  *strings(facts: Facts, key: string): Slices<Dfa | undefined> {
    const { patterns, formats, minLength, maxLength, where } = facts;
    if (patterns.length + formats.length === 0) return undefined;
    const { work } = this;
    const parts = this.parts(facts);
    return yield* this.shared(key, function* () {
      let whole: Dfa | undefined;
      for (const part of parts) {
        const dfa = yield* part;
        whole = whole ? yield* intersectInSlices(whole, dfa, where, work) : dfa;
      }
      if (minLength === 0 && maxLength === Number.POSITIVE_INFINITY) return whole!;
      const length = yield* lengthDfa(minLength, maxLength, where, work);
      return yield* intersectInSlices(whole!, length, where, work);
    });
  }

  /** Whether a string satisfies the facts' keywords for strings. */
  *acceptsString(facts: Facts, value: string): Slices<boolean> {
    const dfa = yield* this.strings(facts, this.stringKey(facts));
    this.spend(value.length);
    if (dfa) {
      const bytes = Buffer.from(JSON.stringify(value).slice(1, -1));
      return yield* accepts(dfa, bytes, facts.where, this.work);
    }
    const length = characters(value);
    return length >= facts.minLength && length <= facts.maxLength;
  }

  /** Yields the automata of patterns and formats one at a time. */
  private *parts({ patterns, formats }: Facts): Generator<Slices<Dfa>, void, undefined> {
    for (const { source, where } of patterns) yield this.pattern(source, where);
    for (const { name, where } of formats) yield this.format(name, where);
  }

  private *format(name: string, where: string): Slices<Dfa> {
    const dfa = yield* formatDfa(name);
    if (!dfa) throw unsupported(where, `the format ${describe(name)} (supported: ${formatNames.join(", ")})`);
    return dfa;
  }

  private pattern(source: string, where: string): Slices<Dfa> {
    const { work } = this;
    return this.shared(`pattern ${source}`, () =>
      dfaInSlices(wholeTexts(parsePattern(source, where, work), where, { search: true }), "json", where, work),
    );
  }

  private *shared(key: string, make: () => Slices<Dfa>): Slices<Dfa> {
    let dfa = this.made.get(key);
    if (!dfa) {
      dfa = yield* make();
      this.made.set(key, dfa);
    }
    return dfa;
  }

  /** Serializes a key. @param parts the number of its parts, for the budget */
  private keyOf(of: unknown, parts: number): string {
    this.spend(SCHEMA + PART * parts);
    const key = JSON.stringify(of);
    this.spend(key.length);
    return key;
  }

  private spend(work: number): void {
    this.work.spend(work, this.name);
  }
}

/** Counts code points. A schema has no lone surrogates. */
function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
