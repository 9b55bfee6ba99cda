// Matches names of modules against keys that PEFT treats as regular expressions. One pass over a name follows all
// alternatives at once (Thompson 1968), so no key can cause exponential backtracking.
import { HeddleError } from "../core/errors.ts";

/** Maximum number of states of all expressions in a pattern. Plain names have no states, so a pattern may have many of them. */
const MAX_STATES = 2048;
/** Maximum depth of groups, because the parser is recursive. */
const MAX_DEPTH = 32;

type Test = (code: number) => boolean;
type Node =
  | { kind: "set"; test: Test }
  | { kind: "sequence" | "either"; parts: readonly Node[] }
  | { kind: "repeat"; part: Node; least: number; most: number }
  | { kind: "start" | "end" };

type Instruction =
  | { kind: "set"; test: Test }
  | { kind: "split"; to: readonly number[] }
  | { kind: "start" | "end" | "match" };

/**
 * Compiles the keys of `rank_pattern` or `alpha_pattern`. The result returns the value of the first key that matches a
 * module's name, or undefined. A key matches a whole name, or the part of it after any dot, as in PEFT's
 * get_pattern_key.
 * @param where the pattern's name in messages
 * @throws HeddleError UNSUPPORTED for a key with a construct that is not supported; the message shows the key
 */
export function modulePattern<T>(
  pattern: Readonly<Record<string, T>>,
  where: string,
): (module: string) => T | undefined {
  let states = 0;
  const keys = Object.entries(pattern).map(([key, value]) => {
    const plain = plainKey(key);
    if (plain) return { matches: plain, value };
    const program = programOf(key, where, MAX_STATES - states);
    states += program.length;
    return { matches: (module: string) => isMatch(program, module), value };
  });
  return (module) => keys.find(({ matches }) => matches(module))?.value;
}

/**
 * Returns the matcher of a key without operators, except `.`, `^` at its start and `$` at its end. Returns undefined for
 * other keys.
 */
function plainKey(key: string): ((module: string) => boolean) | undefined {
  const [, start, name] = /^(\^?)((?:[\w-]|\\?\.)+)\$?$/.exec(key) ?? [];
  if (name === undefined) return undefined;
  const characters = name.match(/\\?./g)!;
  return (module) => {
    const from = module.length - characters.length;
    if (from < 0 || (from > 0 && (start === "^" || module[from - 1] !== "."))) return false;
    return characters.every((c, i) => c === "." || c.at(-1) === module[from + i]);
  };
}

/** Compiles a key to a program that matches whole names, for Thompson's simulation. */
function programOf(key: string, where: string, room: number): Instruction[] {
  const refused = (reason: string) =>
    new HeddleError(
      "UNSUPPORTED",
      `${where}: expected a regular expression without ${reason}, got ${JSON.stringify(key.slice(0, 200))}`,
    );
  // This limit bounds the parser's work. `emit` limits the number of states.
  if (key.length > MAX_STATES) throw refused(`more than ${MAX_STATES} characters`);
  const program: Instruction[] = [];
  const emit = (instruction: Instruction) => {
    if (program.length >= room) throw refused(`more than ${MAX_STATES} states`);
    return program.push(instruction) - 1;
  };
  /** Emits a choice between the next instruction and others that are added later. */
  const split = () => {
    const to: number[] = [];
    const at = emit({ kind: "split", to });
    to.push(at + 1);
    return { at, to };
  };
  let written = 0;
  const write = (node: Node): void => {
    // A repetition of an empty group adds no states.
    if (++written > 4 * MAX_STATES) throw refused("too many repetitions");
    switch (node.kind) {
      case "sequence":
        for (const part of node.parts) write(part);
        return;
      case "either": {
        const ends: number[][] = [];
        for (const part of node.parts.slice(0, -1)) {
          const choice = split();
          write(part);
          const end: number[] = [];
          emit({ kind: "split", to: end });
          ends.push(end);
          choice.to.push(program.length);
        }
        write(node.parts.at(-1)!);
        for (const end of ends) end.push(program.length);
        return;
      }
      case "repeat": {
        for (let i = 0; i < node.least; i++) write(node.part);
        if (node.most === Number.POSITIVE_INFINITY) {
          const choice = split();
          write(node.part);
          emit({ kind: "split", to: [choice.at] });
          choice.to.push(program.length);
          return;
        }
        const choices = [];
        for (let i = node.least; i < node.most; i++) {
          choices.push(split());
          write(node.part);
        }
        for (const { to } of choices) to.push(program.length);
        return;
      }
      default:
        emit(node);
    }
  };
  // The key may follow any prefix of the name that ends with a dot.
  const before: Node = { kind: "repeat", part: { kind: "set", test: isAny }, least: 0, most: Number.POSITIVE_INFINITY };
  const dot: Node = { kind: "set", test: (code) => code === DOT };
  write({ kind: "repeat", part: { kind: "sequence", parts: [before, dot] }, least: 0, most: 1 });
  write(new Parser(key, refused).parse());
  emit({ kind: "match" });
  return program;
}

/** Whether a program matches a whole text. It keeps the set of all active states (Thompson 1968). */
function isMatch(program: readonly Instruction[], text: string): boolean {
  let active: number[] = [0];
  for (let at = 0; ; at++) {
    const seen = new Uint8Array(program.length);
    const next: number[] = [];
    // The list grows while it is read: a state that consumes no character adds the states after it (epsilon closure).
    const add = (states: number[], state: number) => {
      if (seen[state]) return;
      seen[state] = 1;
      states.push(state);
    };
    const now: number[] = [];
    for (const state of active) add(now, state);
    for (let i = 0; i < now.length; i++) {
      const state = now[i]!;
      const instruction = program[state]!;
      if (instruction.kind === "split") for (const to of instruction.to) add(now, to);
      else if (instruction.kind === "set") {
        if (at < text.length && instruction.test(text.charCodeAt(at))) next.push(state + 1);
      } else if (instruction.kind === "match") {
        if (at === text.length) return true;
      } else if (at === (instruction.kind === "start" ? 0 : text.length)) add(now, state + 1);
    }
    if (at === text.length || next.length === 0) return false;
    active = next;
  }
}

const DOT = 0x2e;
const isAny: Test = (code) => code !== 0x0a;
const within =
  (from: number, to: number): Test =>
  (code) =>
    code >= from && code <= to;
const not =
  (test: Test): Test =>
  (code) =>
    !test(code);
const isDigit = within(0x30, 0x39);
// Names of modules are ASCII, so \d and \w need no other characters, although Python's match them.
const isWord: Test = (code) => /^\w$/.test(String.fromCharCode(code));
const CLASSES: Readonly<Record<string, Test>> = { d: isDigit, D: not(isDigit), w: isWord, W: not(isWord) };

/** Parses a subset of Python's regular expressions: no look-around, flags, named groups or back references. */
class Parser {
  private readonly source: string;
  private readonly refused: (reason: string) => HeddleError;
  private at = 0;

  constructor(source: string, refused: (reason: string) => HeddleError) {
    this.source = source;
    this.refused = refused;
  }

  parse(): Node {
    const node = this.either(0);
    if (this.at < this.source.length) throw this.refused("an unmatched )");
    return node;
  }

  private take(text: string): boolean {
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  private either(depth: number): Node {
    if (depth > MAX_DEPTH) throw this.refused(`more than ${MAX_DEPTH} nested groups`);
    const parts = [this.sequence(depth)];
    while (this.take("|")) parts.push(this.sequence(depth));
    return { kind: "either", parts };
  }

  private sequence(depth: number): Node {
    const parts: Node[] = [];
    while (this.at < this.source.length && !/[|)]/.test(this.source[this.at]!))
      parts.push(this.quantified(this.atom(depth)));
    return { kind: "sequence", parts };
  }

  private atom(depth: number): Node {
    if (this.take("(")) {
      if (this.take("?") && !this.take(":"))
        throw this.refused("look-around, flags or other groups that begin with (?");
      const node = this.either(depth + 1);
      if (!this.take(")")) throw this.refused("an unclosed (");
      return node;
    }
    if (this.take("^")) return { kind: "start" };
    if (this.take("$")) return { kind: "end" };
    if (this.take(".")) return { kind: "set", test: isAny };
    if (this.take("[")) return { kind: "set", test: this.set() };
    if (/[*+?{]/.test(this.source[this.at]!)) throw this.refused("a quantifier that follows nothing");
    const test = this.character();
    return { kind: "set", test: typeof test === "number" ? within(test, test) : test };
  }

  /** Reads a character, an escaped character, or an escaped class such as `\d`. */
  private character(): number | Test {
    if (!this.take("\\")) return this.source.charCodeAt(this.at++);
    const escaped = this.source[this.at++];
    const known = escaped === undefined ? undefined : CLASSES[escaped];
    if (known) return known;
    // Python reserves the escapes of letters and digits.
    if (escaped === undefined || /[^!-~]|[0-9A-Za-z]/.test(escaped))
      throw this.refused(`\\${escaped ?? " at its end"}`);
    return escaped.charCodeAt(0);
  }

  private set(): Test {
    const negated = this.take("^");
    const tests: Test[] = [];
    // A ] at the start of a set is a character, as it is in Python.
    while (tests.length === 0 || this.source[this.at] !== "]") {
      if (this.at >= this.source.length) throw this.refused("an unclosed [");
      const from = this.character();
      if (this.source[this.at] !== "-" || this.source[this.at + 1] === "]") {
        tests.push(typeof from === "number" ? within(from, from) : from);
        continue;
      }
      this.at++;
      if (this.at >= this.source.length) throw this.refused("an unclosed [");
      const to = this.character();
      if (typeof from !== "number" || typeof to !== "number" || from > to) throw this.refused("an invalid range");
      tests.push(within(from, to));
    }
    this.at++;
    const test: Test = (code) => tests.some((is) => is(code));
    return negated ? not(test) : test;
  }

  private quantified(part: Node): Node {
    const limits = this.limits();
    if (!limits) return part;
    if (part.kind === "start" || part.kind === "end") throw this.refused("a quantifier of ^ or $");
    this.take("?"); // Greedy and lazy quantifiers match the same names.
    if (this.at < this.source.length && /[*+?{]/.test(this.source[this.at]!))
      throw this.refused("two quantifiers in a row");
    return { kind: "repeat", part, ...limits };
  }

  private limits(): { least: number; most: number } | undefined {
    if (this.take("*")) return { least: 0, most: Number.POSITIVE_INFINITY };
    if (this.take("+")) return { least: 1, most: Number.POSITIVE_INFINITY };
    if (this.take("?")) return { least: 0, most: 1 };
    if (this.source[this.at] !== "{") return undefined;
    const [whole, from, comma, to] = /^\{(\d*)(,?)(\d*)\}/.exec(this.source.slice(this.at)) ?? [];
    // Python reads other braces as literal characters. Here they are refused.
    if (whole === undefined || whole === "{}") throw this.refused("{ that is not a quantifier");
    this.at += whole.length;
    const least = Number(from);
    const most = !comma ? least : to ? Number(to) : Number.POSITIVE_INFINITY;
    if (most < least) throw this.refused("an invalid quantifier");
    return { least, most };
  }
}
