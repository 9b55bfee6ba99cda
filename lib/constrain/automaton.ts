// Matches bytes against a grammar. It follows all alternatives at once, and creates states when they are first reached.
import { HeddleError } from "../core/errors.ts";
import { type Grammar, Guard } from "./grammar.ts";

/**
 * The callers of a rule at one position: for each of them the node after the call, its counter, and its own callers. All calls of a rule
 * at a position share one object (a graph-structured stack, Tomita 1985), so ambiguity does not multiply.
 */
interface Callers {
  readonly id: number;
  readonly entries: readonly Entry[];
}

interface Entry {
  readonly after: number;
  readonly count: number;
  readonly callers: Callers;
}

/** One alternative: a node that reads the next byte, with its counter and callers. */
interface Way {
  readonly node: number;
  readonly count: number;
  readonly callers: Callers;
}

/** A position in a document. States are shared: equal states are the same object, and allow the same continuations. */
export class State {
  /** @internal */ readonly ways: readonly Way[];
  /** Whether the text so far is a complete document. */
  readonly whole: boolean;
  /** @internal The next state by byte. null: not allowed; undefined: not computed yet. */
  next: (State | null | undefined)[] = [];

  /** @internal Cached number of free characters: see `isFree`. */ room: number | undefined;

  /** @internal */
  constructor(ways: readonly Way[], whole: boolean) {
    this.ways = ways;
    this.whole = whole;
  }

  /** Whether nothing can follow. */
  get final(): boolean {
    return this.ways.length === 0;
  }
}

const QUOTE = 0x22;

/**
 * Approximate maximum memory of the states and their keys. When it is exceeded, all states are dropped. The sizes below
 * are estimates.
 */
const MAX_BYTES = 32 << 20;
const STATE_BYTES = 2500;
const WAY_BYTES = 100;
const KEY_BYTES = 30;
const ENTRY_BYTES = 80;

/**
 * Maximum number of alternatives that are visited to compute one state. More would block the event loop too long. The
 * largest objects that compile stay below this limit.
 */
const MAX_WAYS = 1 << 16;

/** Matches bytes against a grammar, one at a time. */
export class Automaton {
  readonly grammar: Grammar;
  readonly start: State;
  private readonly outermost: Callers = { id: 0, entries: [] };
  private callersMade = 0;
  private readonly callers = new Map<string, Callers>();
  private readonly states = new Map<string, State>();
  /** States by the nodes, counters and callers that a byte leads to. */
  private readonly followers = new Map<string, State>();
  private bytes = 0;
  private looks = 0;

  constructor(grammar: Grammar) {
    this.grammar = grammar;
    const { start } = grammar.rules[grammar.root]!;
    this.start = this.closure([{ node: start, count: 0, callers: this.outermost }]);
  }

  /** The number of alternatives processed so far, as a measure of the work done. */
  get work(): number {
    return this.looks;
  }

  /** Estimated memory of the states in bytes. */
  get size(): number {
    return this.bytes;
  }

  /**
   * Returns the state after one more byte, or null if no document continues with it.
   * @throws HeddleError UNSUPPORTED if there are too many alternatives
   */
  step(state: State, byte: number): State | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const made = this.follow(state, byte);
    if (state.next.length === 0) state.next = new Array(256);
    state.next[byte] = made;
    return made;
  }

  /** Returns the state after some bytes, or null if no document continues with them. */
  read(state: State, bytes: Uint8Array): State | null {
    let at: State | null = state;
    for (let i = 0; i < bytes.length && at; i++) at = this.step(at, bytes[i]!);
    return at;
  }

  /** Whether the state is inside a string, and any text of up to `characters` characters may follow. */
  isFree(state: State, characters: number): boolean {
    state.room ??= this.freeCharacters(state) ?? 0;
    return state.room >= characters;
  }

  /**
   * Returns how many more characters the string at this state may have, if any characters are allowed.
   * @returns undefined for any other state
   */
  freeCharacters(state: State): number | undefined {
    if (state.ways.length > 2) return undefined;
    const way = state.ways.find(({ node }) => {
      const of = this.grammar.nodes[node]!;
      return of.kind === "bytes" && of.character;
    });
    if (!way) return undefined;
    // The only other alternative may be the end of the string.
    const other = state.ways.find((one) => one !== way);
    const end = other && this.grammar.nodes[other.node]!;
    if (end && !(end.kind === "bytes" && end.edges.every(([low, high]) => low === QUOTE && high === QUOTE)))
      return undefined;
    const node = this.grammar.nodes[way.node]!;
    const { most } = this.grammar.rules[node.kind === "bytes" ? node.rule : 0]!;
    return most === Number.POSITIVE_INFINITY ? most : most - way.count + 1;
  }

  private follow(state: State, byte: number): State | null {
    const { nodes } = this.grammar;
    const reached: Way[] = [];
    let key = "";
    for (const { node, count, callers } of state.ways) {
      const of = nodes[node]!;
      if (of.kind !== "bytes") continue;
      for (const [low, high, to] of of.edges)
        if (low <= byte && byte <= high) {
          reached.push({ node: to, count, callers });
          key += `${to},${count},${callers.id};`;
          break;
        }
    }
    // Testing the edges of an alternative is cheap compared with `closure`, so sixteen tested alternatives count as one.
    this.looks += state.ways.length >> 4;
    if (reached.length === 0) return null;
    let follower = this.followers.get(key);
    if (!follower) {
      follower = this.closure(reached);
      this.holds(KEY_BYTES * reached.length);
      this.followers.set(key, follower);
    }
    return follower;
  }

  /** Returns the state of all nodes that are reachable without reading a byte. */
  private closure(reached: readonly Way[]): State {
    const { nodes, rules } = this.grammar;
    const seen = new Places();
    const stack: Way[] = [];
    const out: Way[] = [];
    let whole = false;
    let looks = 0;
    const visit = (node: number, count: number, callers: Callers) => {
      looks++;
      if (seen.add(node, count, callers.id)) stack.push({ node, count, callers });
    };
    // Rules called during this closure. Their lists of callers grow until the closure is finished. Until then, their id
    // is −1 − rule.
    const open = new Map<number, { callers: Callers; entries: Entry[]; places: Places }>();
    const call = (rule: number, entry: Entry) => {
      let called = open.get(rule);
      if (!called) {
        const entries: Entry[] = [];
        called = { callers: { id: -1 - rule, entries }, entries, places: new Places() };
        open.set(rule, called);
        visit(rules[rule]!.start, 0, called.callers);
      }
      looks++;
      if (called.places.add(entry.after, entry.count, entry.callers.id)) called.entries.push(entry);
    };
    for (const { node, count, callers } of reached) visit(node, count, callers);
    while (stack.length > 0) {
      if (looks > MAX_WAYS) throw tooAmbiguous();
      const { node, count, callers } = stack.pop()!;
      const of = nodes[node]!;
      if (of.kind === "bytes") {
        if (of.edges.length > 0) out.push({ node, count, callers });
      } else if (of.kind === "call") call(of.rule, { after: of.after, count, callers });
      else if (of.kind === "end") {
        if (callers === this.outermost) whole = true;
        for (const entry of callers.entries) visit(entry.after, entry.count, entry.callers);
      } else {
        for (const { to, guard } of of.edges) {
          if (guard === Guard.none) {
            visit(to, count, callers);
            continue;
          }
          const { least, most } = rules[of.rule]!;
          if (guard === Guard.enough) {
            if (count >= least) visit(to, count, callers);
          } else if (count < most)
            // Without a maximum, all counts from the minimum on allow the same continuations, so they share a state.
            visit(to, most === Number.POSITIVE_INFINITY ? Math.min(count + 1, least) : count + 1, callers);
        }
      }
    }
    this.looks += looks;
    return this.settled(out, whole, open);
  }

  /** Returns the state of some alternatives. Reuses equal states and equal lists of callers that were made earlier. */
  private settled(
    ways: readonly Way[],
    whole: boolean,
    open: ReadonlyMap<number, { entries: readonly Entry[] }>,
  ): State {
    const done = new Map<number, Callers>();
    // No rule begins with itself, so every chain of callers created here ends in callers that existed before.
    const settle = (callers: Callers): Callers => {
      if (callers.id >= 0) return callers;
      const known = done.get(callers.id);
      if (known) return known;
      const entries = open.get(-1 - callers.id)!.entries.map((e): Entry => ({ ...e, callers: settle(e.callers) }));
      entries.sort((a, b) => a.after - b.after || a.count - b.count || a.callers.id - b.callers.id);
      const key = entries.map((e) => `${e.after},${e.count},${e.callers.id}`).join(";");
      let made = this.callers.get(key);
      if (!made) {
        made = { id: ++this.callersMade, entries };
        this.bytes += ENTRY_BYTES * entries.length;
        this.callers.set(key, made);
      }
      done.set(callers.id, made);
      return made;
    };
    const all = ways.map((way): Way => ({ ...way, callers: settle(way.callers) }));
    all.sort((a, b) => a.node - b.node || a.count - b.count || a.callers.id - b.callers.id);
    const key = `${whole};${all.map((w) => `${w.node},${w.count},${w.callers.id}`).join(";")}`;
    const known = this.states.get(key);
    if (known) return known;
    const state = new State(all, whole);
    this.holds(STATE_BYTES + WAY_BYTES * all.length);
    this.states.set(key, state);
    return state;
  }

  private holds(bytes: number): void {
    if (this.bytes + bytes > MAX_BYTES) this.forget();
    this.bytes += bytes;
  }

  /** Drops all states. States in use stay valid, but the states that follow them are computed again. */
  private forget(): void {
    for (const state of this.states.values()) state.next = [];
    this.states.clear();
    this.followers.clear();
    this.callers.clear();
    this.bytes = 0;
  }
}

/**
 * Returns the error for a schema that is too ambiguous. Matching its documents would take so long that other sequences
 * of the run would wait.
 */
export function tooAmbiguous(): HeddleError {
  return new HeddleError(
    "UNSUPPORTED",
    "responseFormat: too many alternatives are open at one place of the document (alternatives with a common prefix, optional properties)",
  );
}

/** Factor that packs a count below 2^35 and a node below 2^18 into one number. */
const COUNT = 2 ** 18;

/**
 * A set of nodes with their counter and callers. Most nodes have the same callers as the first node. These nodes are in
 * one set of packed numbers.
 */
class Places {
  private readonly known = new Set<number>();
  private callers: number | undefined;
  private others: Map<number, Set<number>> | undefined;

  /** Adds a node. @returns whether it is new */
  add(node: number, count: number, callers: number): boolean {
    this.callers ??= callers;
    const known = callers === this.callers ? this.known : this.of(callers);
    const before = known.size;
    known.add(node + count * COUNT);
    return known.size > before;
  }

  private of(callers: number): Set<number> {
    this.others ??= new Map();
    let known = this.others.get(callers);
    if (!known) {
      known = new Set();
      this.others.set(callers, known);
    }
    return known;
  }
}
