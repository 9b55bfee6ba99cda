// Prevents injection: text in chat messages must not be encoded as special tokens.
//
// Before rendering, a mark is inserted after each character of the messages that could begin a guarded token, as it is or when
// normalized. The mark is a private-use character that occurs nowhere else. Marks pass through the template with the text. After
// rendering they are removed, and no guarded token may match across their positions. This works for any template, even if it trims,
// splits or joins the text.
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { CHANGES, type GuardCharacters } from "./guard-characters.ts";
import { firstCharacter, Marker, type UsedMarks, withoutMarks } from "./marks.ts";

const maxDepth = 64;
/** Maximum number of values in a template's input: objects, arrays, strings, numbers. */
const maxValues = 100_000;

/** A token that text in messages must not be encoded as. */
interface Guarded {
  special: boolean;
  content: string;
}

/** The tokens that messages are guarded against. */
export interface GuardedTokens {
  tokens: readonly Guarded[];
  /** Effects of normalization on characters, if tokens are matched in normalized text. */
  characters?: GuardCharacters | undefined;
}

/** The markers for the strings of a message. */
interface Rule {
  texts: Marker;
  /** Marks field names that are plain words. It marks only literal beginnings of tokens, because templates look fields up by name. */
  words: Marker;
}

/** Inserts marks into the inputs of a template, and removes them from its output. */
export class ChatGuard {
  readonly mark: string;
  /** Marks every possible beginning of a guarded token. */
  private readonly strict: Rule;
  /** For the assistant's messages: leaves markup that is not a special token unmarked. */
  private readonly lenient: Rule;

  /** @param used the private-use characters that occur in the inputs */
  constructor({ tokens, characters }: GuardedTokens, used: UsedMarks) {
    const mark = used.unused();
    if (mark === undefined)
      throw new HeddleError("UNSUPPORTED", "chat template: the messages use every private-use character");
    this.mark = mark;
    const first = tokens.map(({ content }) => firstCharacter(content));
    const rule = (heads: readonly string[], openers: ReadonlySet<number>): Rule => ({
      texts: new Marker(heads, mark, characters && { characters, openers }),
      words: new Marker(heads, mark),
    });
    this.strict = rule(first, new Set());
    const specials = tokens.filter((token) => token.special).map((token) => token.content);
    const openers = new Set(first.map(codeOf));
    if (characters)
      // Openers are the first characters of guarded tokens. One that stays in the set is marked only where a head begins. One that is
      // removed here is marked wherever it occurs. If normalization changes a special token's first character, every opener may begin that
      // token. If it changes a later character of the head, only the token's own first character may begin that token.
      for (const content of specials)
        if (!keeps(firstCharacter(content), characters)) openers.clear();
        else if (!keeps(beginningOf(content), characters)) openers.delete(codeOf(content));
    this.lenient = rule(specials.map(beginningOf), openers);
  }

  /**
   * Copies messages, tools or documents with marks. Roles and types stay unchanged, because templates compare them, and some turn them
   * into special tokens. An assistant's text keeps markup that is not a special token, such as `<think>`, because templates look for it.
   * Everything else is marked wherever a guarded token could begin.
   */
  *protect(value: unknown, name: string, depth = 0, rule = this.strict): Generator<void, unknown, undefined> {
    if (depth > maxDepth) throw tooMany(name, maxDepth, "levels");
    if (typeof value === "string") return yield* rule.texts.apply(value.toWellFormed());
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) {
      const items: unknown[] = [];
      for (const item of value) {
        items.push(yield* this.protect(item, name, depth + 1, rule));
        yield;
      }
      return items;
    }
    const inner = (value as { role?: unknown }).role === "assistant" ? this.lenient : rule;
    const entries: [string, unknown][] = [];
    for (const [key, item] of Object.entries(value)) {
      const keeps = (key === "role" || key === "type") && typeof item === "string" && isWord(item);
      const field = yield* (isWord(key) ? inner.words : inner.texts).apply(key);
      entries.push([field, keeps ? item : yield* this.protect(item, name, depth + 1, inner)]);
      yield;
    }
    return Object.fromEntries(entries);
  }

  /** Returns the rendered text without the marks, and their offsets in ascending order. */
  release(rendered: string): Generator<void, { text: string; barriers: Uint32Array }, undefined> {
    return withoutMarks(rendered, this.mark);
  }
}

/** Returns the prefix of a special token that distinguishes it from other markup, such as "</s>" from "</think>". */
function beginningOf(content: string): string {
  return content.slice(0, content.startsWith("</") ? 3 : firstCharacter(content).length + 1);
}

const isWord = (text: string) => /^[\w.-]{1,64}$/u.test(text);

const codeOf = (text: string) => text.codePointAt(0)!;

/** Whether normalization leaves each character of a text unchanged. */
function keeps(text: string, characters: GuardCharacters): boolean {
  characters.learn(text);
  return [...text].every((character) => (characters.of(codeOf(character)) & CHANGES) === 0);
}

function tooMany(name: string, most: number, what: string): HeddleError {
  return new HeddleError("INVALID_ARGUMENT", `${name}: expected at most ${most} ${what}, got more`);
}

/**
 * Collects the private-use characters in all strings of plain data.
 * @throws HeddleError INVALID_ARGUMENT for data that are not plain, nested too deep, or have too many values
 */
export function* noteTexts(data: Readonly<Record<string, unknown>>, used: UsedMarks): Generator<void, void, undefined> {
  let values = 0;
  const note = function* (value: unknown, name: string, depth: number): Generator<void, void, undefined> {
    if (++values > maxValues) throw tooMany(name, maxValues, "values");
    if (typeof value === "string") yield* used.add(value);
    else if (typeof value === "bigint") throw invalidArgument(name, "plain data", value);
    if (typeof value !== "object" || value === null) return;
    if (depth > maxDepth) throw tooMany(name, maxDepth, "levels");
    if (Array.isArray(value))
      for (const item of value) {
        yield* note(item, name, depth + 1);
        yield;
      }
    else
      for (const [key, item] of Object.entries(value)) {
        yield* used.add(key);
        yield* note(item, name, depth + 1);
        yield;
      }
  };
  for (const [name, value] of Object.entries(data)) yield* note(value, name, 0);
}
