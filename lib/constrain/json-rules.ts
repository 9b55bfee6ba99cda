// Builds grammar rules for the parts of JSON: white space, strings, literals, arrays, objects.
import type { Slices } from "../core/slices.ts";
import type { JsonValue } from "../io/json.ts";
import { END, type FreeEdge, free, type GrammarBuilder, Guard } from "./grammar.ts";
import { limits, tooLarge } from "./limits.ts";
import type { Dfa, Edge } from "./regular.ts";

/** Maximum number of spaces of an indentation. It is limited so that white space always ends. */
const MAX_SPACES = 20;
/** Maximum number of tabs of an indentation. */
const MAX_TABS = 8;

/** The properties of an object, and the bounds of their number. */
export interface ObjectRule {
  properties: readonly { name: string; rule: number; required: boolean }[];
  /** The rule for values of additional properties, which come after the named properties. */
  additional: number | undefined;
  least: number;
  most: number;
}

/** The rules of an array's items, and the bounds of their number. */
interface ArrayRule {
  prefix: readonly number[];
  rest: number | undefined;
  least: number;
  most: number;
}

/** Units of work (see `limits.work`) per literal value. */
const VALUE = 50;
/** Units of work per text that is compared with others. */
const WORD = 10;

/** Makes rules and nodes for JSON values. */
export class JsonRules {
  readonly builder: GrammarBuilder;
  private spaceRule: number | undefined;

  constructor(builder: GrammarBuilder) {
    this.builder = builder;
  }

  /** Makes nodes for white space: nothing, one space, or a line break with an indentation. */
  private space(then: number): number {
    const { builder } = this;
    if (this.spaceRule === undefined) {
      const rule = builder.rule();
      const run = (byte: number, most: number): number => {
        let node = END;
        for (let i = 0; i < most; i++) {
          const one = builder.bytes(rule, [[byte, byte, node]]);
          node = i + 1 < most ? builder.choice([END, one]) : one;
        }
        return node;
      };
      const line = builder.choice([END, run(0x20, MAX_SPACES), run(0x09, MAX_TABS)]);
      const start = builder.bytes(rule, [
        [0x20, 0x20, END],
        [0x0a, 0x0a, line],
      ]);
      builder.rules[rule]!.start = start;
      this.spaceRule = rule;
    }
    return builder.choice([then, builder.call(this.spaceRule, then)]);
  }

  /** Makes nodes for a colon and at most one space after it. */
  private colon(rule: number, then: number): number {
    const { builder } = this;
    const after = builder.choice([then, builder.bytes(rule, [[0x20, 0x20, then]])]);
    return builder.bytes(rule, [[0x3a, 0x3a, after]]);
  }

  private literal(rule: number, text: string, then: number): number {
    return this.builder.literal(rule, text, then);
  }

  /** Returns the rule of a string of `least` to `most` characters. */
  string(least: number, most: number): number {
    const { builder } = this;
    if (least > most) return this.never();
    const rule = builder.rule(least, most);
    const body = builder.loop(rule);
    const character = this.character(rule, body.node);
    body.set([
      { to: character, guard: Guard.count },
      { to: this.literal(rule, '"', END), guard: Guard.enough },
    ]);
    return this.begin(rule, this.literal(rule, '"', body.node));
  }

  /** Returns the rule of a string whose content, without the quotes, is accepted by an automaton. */
  *stringOf(dfa: Dfa): Slices<number> {
    const rule = this.builder.rule();
    const text = yield* this.builder.automaton(rule, dfa, this.literal(rule, '"', END));
    return this.begin(rule, this.literal(rule, '"', text));
  }

  /** Returns the rule of a value without quotes that an automaton accepts, such as a number. */
  *plain(dfa: Dfa): Slices<number> {
    const rule = this.builder.rule();
    return this.begin(rule, yield* this.builder.automaton(rule, dfa, END));
  }

  /** Returns a rule that matches any of several rules. */
  either(rules: readonly number[], rule = this.builder.rule()): number {
    const { builder } = this;
    return this.begin(rule, builder.choice(rules.map((one) => builder.call(one, END))));
  }

  /** Returns a rule that matches nothing. */
  never(): number {
    return this.either([]);
  }

  /** Sets the start of a rule, and returns the rule. */
  private begin(rule: number, start: number): number {
    this.builder.rules[rule]!.start = start;
    return rule;
  }

  /** Makes nodes for any character of a string, literal or escaped, but not for a lone surrogate. */
  character(rule: number, then: number): number {
    const { builder } = this;
    const bytes = (...edges: Edge[]) => builder.bytes(rule, edges);
    const more = bytes([0x80, 0xbf, then]);
    const more2 = bytes([0x80, 0xbf, more]);
    const more3 = bytes([0x80, 0xbf, more2]);
    const hex = (to: number) => bytes([0x30, 0x39, to], [0x41, 0x46, to], [0x61, 0x66, to]);
    const [hex1, hex2] = [hex(then), hex(hex(then))];
    const low = bytes([0x43, 0x46, hex2], [0x63, 0x66, hex2]); // U+DC00 to DFFF
    const second = this.literal(rule, "\\u", bytes([0x44, 0x44, low], [0x64, 0x64, low]));
    const high = hex(hex(second));
    // After \uD: U+D000 to D7FF, or a high surrogate (U+D800 to DBFF), which a low one must follow.
    const afterD = bytes([0x30, 0x37, hex2], [0x38, 0x39, high], [0x41, 0x42, high], [0x61, 0x62, high]);
    const hex3 = hex(hex(hex1));
    const unicode = bytes(
      ...([
        [0x30, 0x39],
        [0x41, 0x43],
        [0x45, 0x46],
        [0x61, 0x63],
        [0x65, 0x66],
      ].map(([a, b]) => [a, b, hex3]) as Edge[]),
      [0x44, 0x44, afterD],
      [0x64, 0x64, afterD],
    );
    const escaped = bytes(...[...'"\\/bfnrt'].map((c): Edge => [c.charCodeAt(0), c.charCodeAt(0), then]), [
      0x75,
      0x75,
      unicode,
    ]);
    return builder.bytes(
      rule,
      [
        [0x20, 0x21, then],
        [0x23, 0x5b, then],
        [0x5c, 0x5c, escaped],
        [0x5d, 0x7f, then],
        [0xc2, 0xdf, more],
        [0xe0, 0xe0, bytes([0xa0, 0xbf, more])],
        [0xe1, 0xec, more2],
        [0xed, 0xed, bytes([0x80, 0x9f, more])],
        [0xee, 0xef, more2],
        [0xf0, 0xf0, bytes([0x90, 0xbf, more2])],
        [0xf1, 0xf3, more3],
        [0xf4, 0xf4, bytes([0x80, 0x8f, more2])],
      ],
      true,
    );
  }

  /** Returns a rule that matches any of the values, with optional white space where JSON allows it. */
  *literals(values: readonly JsonValue[]): Slices<number> {
    const rule = this.builder.rule();
    const { work, where } = this.builder;
    const starts: number[] = [];
    const texts: Uint8Array[] = [];
    for (const value of values) {
      if (typeof value === "string") this.builder.checkRoom(value.length);
      if (typeof value === "object" && value !== null) starts.push(yield* this.value(rule, value, END));
      else texts.push(Buffer.from(JSON.stringify(value)));
      work.spend(VALUE, where);
      if (work.isDue) yield;
    }
    if (texts.length > 0) starts.push(yield* this.words(rule, texts, END));
    return this.begin(rule, this.builder.choice(starts));
  }

  /**
   * Makes nodes that match any of the texts. There must be at least one text. Texts with a common prefix share its
   * nodes.
   */
  private *words(rule: number, texts: readonly Uint8Array[], then: number): Slices<number> {
    const { builder } = this;
    const { work, where } = builder;
    /** Texts with the same first `at` bytes. They agree up to `end`. `edges` holds the nodes made so far, one per entry of `parts`. */
    interface Branch {
      texts: readonly Uint8Array[];
      at: number;
      end: number;
      parts: readonly (readonly [byte: number, texts: readonly Uint8Array[]])[];
      edges: Edge[];
    }
    const branchOf = (texts: readonly Uint8Array[], at: number): Branch => {
      const first = texts[0]!;
      let end = at;
      while (end < first.length && texts.every((text) => text[end] === first[end])) end++;
      const byFirst = new Map<number, Uint8Array[]>();
      for (const text of texts) {
        if (text.length === end) continue;
        const list = byFirst.get(text[end]!);
        if (list) list.push(text);
        else byFirst.set(text[end]!, [text]);
      }
      work.spend(WORD * texts.length + (end - at) * texts.length, where);
      return { texts, at, end, parts: [...byFirst], edges: [] };
    };
    const open = [branchOf(texts, 0)];
    for (;;) {
      const top = open.at(-1)!;
      if (work.isDue) yield;
      const next = top.parts[top.edges.length];
      if (next) {
        open.push(branchOf(next[1], top.end + 1));
        continue;
      }
      open.pop();
      const targets = top.texts.some((text) => text.length === top.end) ? [then] : [];
      if (top.edges.length > 0) targets.push(builder.bytes(rule, top.edges));
      const shared = top.texts[0]!.subarray(top.at, top.end);
      const node = yield* builder.text(rule, shared, builder.choice(targets));
      const parent = open.at(-1);
      if (!parent) return node;
      const byte = parent.parts[parent.edges.length]![0];
      parent.edges.push([byte, byte, node]);
    }
  }

  private *value(rule: number, value: JsonValue, then: number): Slices<number> {
    const { builder } = this;
    if (builder.work.isDue) yield;
    if (typeof value === "string") builder.checkRoom(value.length);
    if (typeof value !== "object" || value === null) return yield* builder.text(rule, JSON.stringify(value), then);
    const isArray = Array.isArray(value);
    const parts = isArray ? value.map((item) => ["", item] as const) : Object.entries(value);
    const [open, close] = isArray ? ["[", "]"] : ["{", "}"];
    if (parts.length === 0) return this.literal(rule, open + close, then);
    let node = this.space(this.literal(rule, close, then));
    for (let i = parts.length - 1; i >= 0; i--) {
      const [key, member] = parts[i]!;
      node = yield* this.value(rule, member, node);
      if (!isArray) node = yield* builder.text(rule, JSON.stringify(key), this.colon(rule, node));
      node = this.space(node);
      if (i > 0) node = this.literal(rule, ",", node);
    }
    return this.literal(rule, open, node);
  }

  *array({ prefix, rest, least, most }: ArrayRule): Slices<number> {
    const { builder } = this;
    if (least > most) return this.never();
    const fixed = prefix.length;
    const rule = builder.rule(Math.max(0, least - fixed), most - fixed);
    const close = this.literal(rule, "]", END);
    const closeAfter = this.space(close);
    const open = (targets: readonly (number | FreeEdge)[]) =>
      builder.guarded(
        rule,
        targets.map((to) => (typeof to === "number" ? free(to) : to)),
      );
    // The counter counts the items after the prefix.
    const again = rest !== undefined && most > fixed ? builder.loop(rule) : undefined;
    const item = again && builder.call(rest!, again.node);
    const next = item === undefined ? undefined : this.literal(rule, ",", this.space(item));
    again?.set([
      { to: closeAfter, guard: Guard.enough },
      { to: next!, guard: Guard.count },
    ]);
    const counted = (to: number): FreeEdge => ({ to, guard: Guard.count });
    /** The node after `done` items of the prefix; initially, after all of them. */
    let after = open([...(least <= fixed ? [closeAfter] : []), ...(next === undefined ? [] : [counted(next)])]);
    let first: number | FreeEdge | undefined = item === undefined ? undefined : counted(this.space(item));
    for (let done = Math.min(fixed, most) - 1; done >= 0; done--) {
      if (done + 1 < fixed && done + 1 === most) after = open([closeAfter]);
      const call = builder.call(prefix[done]!, after);
      first = this.space(call);
      after = open([...(done >= least ? [closeAfter] : []), this.literal(rule, ",", this.space(call))]);
      if (builder.work.isDue) yield;
    }
    if (most === 0) first = undefined;
    return this.begin(
      rule,
      this.literal(rule, "[", open([...(least === 0 ? [close] : []), ...(first === undefined ? [] : [first])])),
    );
  }

  *object({ properties, additional, least, most }: ObjectRule): Slices<number> {
    const { builder } = this;
    const rule = builder.rule();
    const close = this.literal(rule, "}", END);
    const closeAfter = this.space(close);
    // There is a set of nodes for each number of properties so far, up to `top`. Larger numbers allow the same
    // continuations as `top`.
    const isBounded = most < Number.POSITIVE_INFINITY && (additional !== undefined || most < properties.length);
    const top = isBounded ? most : Math.max(1, least);
    if ((top + 1) * (properties.length + 1) > limits.nodes)
      throw tooLarge(this.builder.where, limits.nodes, "properties times minProperties or maxProperties");
    const counts = Array.from({ length: top + 1 }, (_, count) => count);
    const separated = (count: number, node: number) =>
      count === 0 ? this.space(node) : this.literal(rule, ",", this.space(node));
    const end = (count: number) => (count < least ? [] : [count === 0 ? close : closeAfter]);
    const others =
      additional === undefined
        ? undefined
        : new OtherNames(
            this,
            rule,
            properties.map(({ name }) => name),
          );

    /** The nodes after all named properties, by the number of properties so far. */
    const lasts: ReturnType<GrammarBuilder["loop"]>[] = [];
    for (const _ of counts) {
      lasts.push(builder.loop(rule));
      if (builder.work.isDue) yield;
    }
    for (const count of counts) {
      const targets = end(count);
      if (others && count < most) {
        const then = lasts[Math.min(count + 1, top)]!.node;
        targets.push(separated(count, yield* others.name(this.colon(rule, builder.call(additional!, then)))));
      }
      lasts[count]!.set(targets.map(free));
    }
    let nodes = lasts.map(({ node }) => node);
    for (let i = properties.length - 1; i >= 0; i--) {
      const { name, rule: value, required } = properties[i]!;
      builder.checkRoom(name.length);
      builder.work.spend(name.length, builder.where);
      const text = JSON.stringify(name);
      const skipped = nodes;
      nodes = [];
      /** The node of the property's name, by the number of properties including it. */
      const key = new Map<number, number>();
      for (const count of counts) {
        const targets: number[] = [];
        if (count < most) {
          const then = Math.min(count + 1, top);
          let node = key.get(then);
          if (node === undefined) {
            node = yield* builder.text(rule, text, this.colon(rule, builder.call(value, skipped[then]!)));
            key.set(then, node);
          }
          targets.push(separated(count, node));
        }
        if (!required) targets.push(skipped[count]!);
        nodes.push(builder.guarded(rule, targets.map(free)));
        if (builder.work.isDue) yield;
      }
    }
    return this.begin(rule, this.literal(rule, "{", nodes[0]!));
  }
}

/** The names of an object's additional properties. */
class OtherNames {
  private readonly rules: JsonRules;
  private readonly rule: number;
  private readonly names: readonly string[];
  /** The names, as JSON.stringify writes them, without quotes. */
  private texts: readonly Uint8Array[] | undefined;

  /** @param names the excluded names */
  constructor(rules: JsonRules, rule: number, names: readonly string[]) {
    this.rules = rules;
    this.rule = rule;
    this.names = names;
  }

  private encoded(name: string): Uint8Array {
    const { work, where } = this.rules.builder;
    work.spend(WORD + name.length, where);
    const text = name.length > limits.nameLength ? undefined : Buffer.from(JSON.stringify(name).slice(1, -1));
    if (text && text.length <= limits.nameLength) return text;
    throw tooLarge(where, limits.nameLength, "bytes of a property's name together with additionalProperties");
  }

  /**
   * Makes nodes for any name that is not excluded. While a name shares a prefix with an excluded name, only
   * JSON.stringify's escapes are accepted.
   */
  *name(then: number): Slices<number> {
    const { rules, rule } = this;
    this.texts ??= this.names.map((name) => this.encoded(name));
    const { texts } = this;
    const { builder } = rules;
    const quote = builder.literal(rule, '"', then);
    const body = builder.loop(rule);
    const character = rules.character(rule, body.node);
    body.set([character, quote].map(free));
    if (texts.length === 0) return builder.literal(rule, '"', body.node);
    const edge = (low: string, high: string, to: number): Edge => [low.charCodeAt(0), high.charCodeAt(0), to];
    const bytes = (...edges: Edge[]) => builder.bytes(rule, edges);
    // Read an escape as JSON.stringify writes it, because that form is unique for each character. `below` and `above` read the last digit of
    // \u000X and \u001X. \u0008 to \u000A, \u000C and \u000D are missing, because they have short escapes.
    const [below, above] = [
      bytes(edge("0", "7", body.node), edge("b", "b", body.node), edge("e", "f", body.node)),
      bytes(edge("0", "9", body.node), edge("a", "f", body.node)),
    ];
    const control = builder.literal(rule, "00", bytes(edge("0", "0", below), edge("1", "1", above)));
    const backslash = bytes(...[...'"\\bfnrt'].map((c) => edge(c, c, body.node)), edge("u", "u", control));
    /** Copies `node`, a node of `character`. The copy is for text that so far equals the first `at` bytes of all names in `alike`. */
    const unlike = function* (alike: readonly Uint8Array[], at: number, node: number): Slices<number> {
      const byFirst = new Map<number, Uint8Array[]>();
      for (const text of alike) {
        if (text.length === at) continue;
        const list = byFirst.get(text[at]!);
        if (list) list.push(text);
        else byFirst.set(text[at]!, [text]);
      }
      builder.work.spend(WORD * alike.length, builder.where);
      if (builder.work.isDue) yield;
      const firsts = [...byFirst.keys()].sort((a, b) => a - b);
      const edges: Edge[] = [];
      const of = builder.nodes[node]!;
      for (const [low, high, to] of of.kind === "bytes" ? of.edges : []) {
        const target = node === character && low === 0x5c ? backslash : to;
        let from = low;
        for (const byte of firsts) {
          if (byte < low || byte > high) continue;
          if (byte > from) edges.push([from, byte - 1, target]);
          const next = target === body.node ? character : target;
          edges.push([byte, byte, yield* unlike(byFirst.get(byte)!, at + 1, next)]);
          from = byte + 1;
        }
        if (from <= high) edges.push([from, high, target]);
      }
      if (node === character && !alike.some((text) => text.length === at)) edges.push([0x22, 0x22, then]);
      return builder.bytes(rule, edges);
    };
    return builder.literal(rule, '"', yield* unlike(texts, 0, character));
  }
}
