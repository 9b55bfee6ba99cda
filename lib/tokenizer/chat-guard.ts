// Keeps text in chat messages from being taken for the template's own special tokens.
//
// Before rendering, a break mark (a private-use character that occurs nowhere else) goes behind each character of the
// messages with which a guarded token could begin. The marks travel through the template with the text. After rendering
// they are taken out again, and where they stood no guarded token may match: whatever the template does to the text
// (trimming, splitting, joining), a guarded token's first character from a message stays broken off from what follows.
import { HeddleError, invalidArgument } from "../errors.ts";

const maxDepth = 64;

export interface Guarded {
  special: boolean;
  content: string;
}

/** What of one message may not be recognised. */
type Rule = (text: string) => string;

export class ChatGuard {
  readonly mark: string;
  private readonly escapedMark: string;
  private readonly strict: Rule;
  private readonly lenient: Rule;

  /** `texts`: everything that takes part; the mark is chosen to occur in none. */
  constructor(tokens: readonly Guarded[], texts: readonly string[]) {
    this.mark = chooseMark(texts);
    this.escapedMark = `\\u${this.mark.charCodeAt(0).toString(16)}`;
    const first = new Set(tokens.map((token) => firstCharacter(token.content)));
    this.strict = (text) => breakWhere(text, this.mark, first, () => true);
    const specials = tokens.filter((token) => token.special).map((token) => token.content);
    const heads = new Set(specials.map((content) => content.slice(0, firstCharacter(content).length + 1)));
    this.lenient = (text) =>
      breakWhere(text, this.mark, first, (at, character) => heads.has(text.slice(at, at + character.length + 1)));
  }

  /**
   * A copy of messages, tools or the like with marks. Roles and types stay as they are: templates compare them, and
   * some make special tokens of them. An assistant's own text keeps mark-up that is not special, such as `<think>`,
   * which templates look for; everything else is marked wherever a token could begin.
   */
  protect(value: unknown, name: string, depth = 0, rule: Rule = this.strict): unknown {
    if (depth > maxDepth) throw invalidArgument(name, `at most ${maxDepth} levels`, "more");
    if (typeof value === "string") return rule(value.toWellFormed());
    if (Array.isArray(value)) return value.map((item) => this.protect(item, name, depth + 1, rule));
    if (typeof value !== "object" || value === null) return value;
    const inner = (value as { role?: unknown }).role === "assistant" ? this.lenient : rule;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        const keeps = (key === "role" || key === "type") && typeof item === "string" && /^[\w.-]{1,64}$/u.test(item);
        return [inner(key), keeps ? item : this.protect(item, name, depth + 1, inner)];
      }),
    );
  }

  /** The rendered text without the marks, and the offsets at which they stood, ascending. */
  release(rendered: string): { text: string; barriers: Uint32Array } {
    const barriers: number[] = [];
    const parts: string[] = [];
    let length = 0;
    // A filter that writes JSON in ASCII turns the mark into its escape.
    const marks = new RegExp(`${this.mark}|\\\\${this.escapedMark}`, "giu");
    let at = 0;
    for (const match of rendered.matchAll(marks)) {
      parts.push(rendered.slice(at, match.index));
      length += match.index - at;
      barriers.push(length);
      at = match.index + match[0].length;
    }
    parts.push(rendered.slice(at));
    return { text: parts.join(""), barriers: Uint32Array.from(barriers) };
  }
}

function firstCharacter(text: string): string {
  return String.fromCodePoint(text.codePointAt(0)!);
}

function breakWhere(
  text: string,
  mark: string,
  first: ReadonlySet<string>,
  applies: (at: number, character: string) => boolean,
): string {
  let out = "";
  let at = 0;
  let done = 0;
  for (const character of text) {
    const next = at + character.length;
    if (first.has(character) && applies(at, character)) {
      out += text.slice(done, next) + mark;
      done = next;
    }
    at = next;
  }
  return done === 0 ? text : out + text.slice(done);
}

/** A private-use character that none of the texts holds, not even as a JSON escape. */
function chooseMark(texts: readonly string[]): string {
  const used = new Set<number>();
  for (const text of texts) {
    for (const [character] of text.matchAll(/[\ue000-\uf8ff]/gu)) used.add(character.charCodeAt(0));
    for (const [, hex] of text.matchAll(/\\u([ef][0-9a-f]{3})/giu)) used.add(Number.parseInt(hex!, 16));
  }
  for (let code = 0xe000; code <= 0xf8ff; code++) if (!used.has(code)) return String.fromCharCode(code);
  throw new HeddleError("UNSUPPORTED", "chat template: the messages use every private-use character");
}
