// Compiles patterns to deterministic automata over bytes: Thompson's construction, then the subset construction, both with limits.

import type { Slices } from "../core/slices.ts";
import { type ByteSequence, type CodePoints, jsonOf, utf8Of } from "./code-points.ts";
import { limits, tooLarge, unsupported, type Work } from "./limits.ts";
import { ANYTHING, type Pattern } from "./pattern.ts";

/** An edge: the bytes from `low` to `high` lead to the state `to`. */
export type Edge = readonly [low: number, high: number, to: number];

/** A deterministic automaton. Every state that can be reached leads to an accepting state, unless the automaton accepts nothing. */
export interface Dfa {
  start: number;
  accepting: readonly boolean[];
  edges: readonly (readonly Edge[])[];
}

/** The encoding of characters: plain UTF-8, or as inside a JSON string. */
type Writing = "plain" | "json";

/** Name of the limited quantity in errors about too many states. */
const STATES = "states of its automaton";

/** Units of work for a node of the nondeterministic automaton. */
const NFA_NODE = 30;
/** Units of work for an edge of the nondeterministic automaton. */
const NFA_EDGE = 16;
/** Units of work for an edge of the deterministic automaton. */
const DFA_EDGE = 30;
/** Units of work for visiting a node. */
const VISIT = 8;
/** Units of work for each number in the text that identifies a state or a set of characters. */
const NAMING = 20;
/** Units of work for encoding a range of characters as bytes. */
const RANGE = 400;

/**
 * Compiles a pattern without anchors (see `wholeTexts`) to an automaton.
 * @param where name of the pattern in messages
 * @throws HeddleError INVALID_ARGUMENT with the exceeded limit
 */
export function* dfaInSlices(pattern: Pattern, writing: Writing, where: string, work: Work): Slices<Dfa> {
  return yield* determinize(new Nfa(writing, where, work), pattern, where, work);
}

/** A nondeterministic automaton over bytes, built by Thompson's construction (1968). */
class Nfa {
  /** Transitions that read no byte, per node. */
  readonly free: number[][] = [];
  readonly edges: Edge[][] = [];
  private readonly writing: Writing;
  private readonly where: string;
  private readonly work: Work;
  private readonly characters = new Map<CodePoints, Edge[][]>();
  /** Edges of a character set by the set's content, because a pattern may repeat a class many times. */
  private readonly alike = new Map<string, Edge[][]>();

  constructor(writing: Writing, where: string, work: Work) {
    this.writing = writing;
    this.where = where;
    this.work = work;
  }

  node(): number {
    if (this.free.length >= limits.patternNodes)
      throw tooLarge(this.where, limits.patternNodes, "states (a pattern repeats too often)");
    this.work.spend(NFA_NODE, this.where);
    this.edges.push([]);
    return this.free.push([]) - 1;
  }

  /** Adds nodes and edges that match the pattern, beginning at node `from`. @returns the node after a match */
  *add(pattern: Pattern, from: number): Slices<number> {
    switch (pattern.kind) {
      case "set":
        return this.addSet(pattern.set, from);
      case "concat": {
        let node = from;
        for (const part of pattern.parts) {
          if (this.work.isDue) yield;
          // Most parts are sets, which need no generator.
          node = part.kind === "set" ? this.addSet(part.set, node) : yield* this.add(part, node);
        }
        return node;
      }
      case "either": {
        const to = this.node();
        for (const part of pattern.parts) this.free[yield* this.add(part, this.after(from))]!.push(to);
        return to;
      }
      case "repeat":
        return yield* this.addRepeat(pattern.part, pattern.least, pattern.most, from);
      default:
        throw unsupported(this.where, "an anchor here");
    }
  }

  private after(from: number): number {
    const node = this.node();
    this.free[from]!.push(node);
    return node;
  }

  private *addRepeat(part: Pattern, least: number, most: number, from: number): Slices<number> {
    let node = this.after(from);
    // A part that adds no states matches only the empty text, so repeating it changes nothing.
    const once = this.free.length;
    for (let i = 0; i < least; i++) {
      if (this.work.isDue) yield;
      node = yield* this.add(part, node);
      if (i === 0 && this.free.length === once) return node;
    }
    if (most === Number.POSITIVE_INFINITY) {
      const loop = this.after(node);
      this.free[yield* this.add(part, loop)]!.push(loop);
      return this.after(loop);
    }
    const to = this.node();
    this.free[node]!.push(to);
    for (let i = least; i < most; i++) {
      const before = this.free.length;
      if (this.work.isDue) yield;
      node = yield* this.add(part, node);
      if (this.free.length === before) break;
      this.free[node]!.push(to);
    }
    return to;
  }

  private addSet(set: CodePoints, from: number): number {
    const character = this.characters.get(set) ?? this.characterOf(set);
    const to = this.node();
    const nodes = character.map((_, i) => (i === 0 ? from : this.node()));
    for (const [i, edges] of character.entries()) {
      this.work.spend(NFA_EDGE * edges.length, this.where);
      for (const [low, high, next] of edges) this.edges[nodes[i]!]!.push([low, high, next < 0 ? to : nodes[next]!]);
    }
    return to;
  }

  private characterOf(set: CodePoints): Edge[][] {
    this.work.spend(NAMING * (1 + set.length), this.where);
    const key = set.join(";");
    let character = this.alike.get(key);
    if (!character) {
      this.work.spend(RANGE * (10 + set.length), this.where);
      character = characterEdges(this.writing === "json" ? jsonOf(set) : utf8Of(set));
      this.alike.set(key, character);
    }
    this.characters.set(set, character);
    return character;
  }
}

/**
 * Returns edges that read the bytes of one character, from node 0 to node −1. Sequences share common prefixes and
 * suffixes: each set of remaining sequences has one node, regardless of the bytes before it.
 */
function characterEdges(sequences: readonly ByteSequence[]): Edge[][] {
  const nodes: Edge[][] = [];
  const made = new Map<string, number>();
  const nodeOf = (rests: readonly ByteSequence[]): number => {
    const key = rests.map((rest) => rest.join()).join(";");
    const known = made.get(key);
    if (known !== undefined) return known;
    const node = nodes.push([]) - 1;
    made.set(key, node);
    const byFirst = new Map<string, { edge: readonly [number, number]; rests: ByteSequence[] }>();
    for (const [edge, ...rest] of rests) {
      const group = byFirst.get(edge!.join());
      if (group) group.rests.push(rest);
      else byFirst.set(edge!.join(), { edge: edge!, rests: [rest] });
    }
    for (const { edge, rests: after } of byFirst.values())
      nodes[node]!.push([...edge, after[0]!.length === 0 ? -1 : nodeOf(after)]);
    return node;
  };
  nodeOf(sequences);
  return nodes;
}

function* determinize(nfa: Nfa, pattern: Pattern, where: string, work: Work): Slices<Dfa> {
  const first = nfa.node();
  const start = nfa.node();
  nfa.free[first]!.push(start);
  const end = yield* nfa.add(pattern, start);
  const spend = (amount: number) => work.spend(amount, where);
  const mark = new Int32Array(nfa.free.length).fill(-1);
  let round = 0;
  /** Returns the epsilon closure, reduced to nodes with byte edges and the end node. */
  const closure = (nodes: readonly number[]): number[] => {
    round++;
    const stack = [...nodes];
    const out: number[] = [];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (mark[node] === round) continue;
      mark[node] = round;
      spend(VISIT);
      if (nfa.edges[node]!.length > 0 || node === end) out.push(node);
      for (const next of nfa.free[node]!) if (mark[next] !== round) stack.push(next);
    }
    spend(NAMING * out.length);
    return out.sort((a, b) => a - b);
  };
  const states = new Map<string, number>();
  const sets: number[][] = [];
  const stateOf = (nodes: readonly number[]): number => {
    const set = closure(nodes);
    const key = set.join();
    const known = states.get(key);
    if (known !== undefined) return known;
    if (sets.length >= limits.patternStates) throw tooLarge(where, limits.patternStates, STATES);
    states.set(key, sets.length);
    return sets.push(set) - 1;
  };
  stateOf([first]);
  const accepting: boolean[] = [];
  const edges: Edge[][] = [];
  for (let i = 0; i < sets.length; i++) {
    const set = sets[i]!;
    const all = set.flatMap((node) => nfa.edges[node]!);
    spend(DFA_EDGE * all.length);
    accepting.push(set.includes(end));
    // The edges of a single node do not overlap.
    if (set.length === 1) edges.push(all.map(([low, high, to]) => [low, high, stateOf([to])]));
    else edges.push(yield* disjoint(all, stateOf, work, where));
    if (work.isDue) yield;
  }
  return yield* trimmed({ start: 0, accepting, edges }, work, where);
}

/**
 * Converts overlapping edges to disjoint edges. Each leads to one state: the set of all nodes that its bytes led to.
 */
function* disjoint(
  all: readonly Edge[],
  stateOf: (nodes: readonly number[]) => number,
  work: Work,
  where: string,
): Slices<Edge[]> {
  const cuts = [...new Set(all.flatMap(([low, high]) => [low, high + 1]))].sort((a, b) => a - b);
  const out: [number, number, number][] = [];
  for (let c = 0; c + 1 < cuts.length; c++) {
    const [low, next] = [cuts[c]!, cuts[c + 1]!];
    work.spend(all.length + DFA_EDGE, where);
    if (work.isDue) yield;
    const targets = all.filter((edge) => edge[0] <= low && low <= edge[1]).map((edge) => edge[2]);
    if (targets.length === 0) continue;
    const to = stateOf(targets);
    const last = out.at(-1);
    if (last && last[2] === to && last[1] === low - 1) last[1] = next - 1;
    else out.push([low, next - 1, to]);
  }
  return out;
}

/** Removes edges to states from which no accepting state is reachable. */
function* trimmed({ start, accepting, edges }: Dfa, work: Work, where: string): Slices<Dfa> {
  const before: number[][] = edges.map(() => []);
  for (const [from, out] of edges.entries()) {
    work.spend(VISIT * (1 + out.length), where);
    for (const edge of out) before[edge[2]]!.push(from);
    if (work.isDue) yield;
  }
  const useful = [...accepting];
  const stack = accepting.flatMap((yes, state) => (yes ? [state] : []));
  while (stack.length > 0) {
    const sources = before[stack.pop()!]!;
    work.spend(VISIT * (1 + sources.length), where);
    for (const state of sources)
      if (!useful[state]) {
        useful[state] = true;
        stack.push(state);
      }
    if (work.isDue) yield;
  }
  const kept: (readonly Edge[])[] = [];
  for (const [state, out] of edges.entries()) {
    kept.push(useful[state] ? out.filter((edge) => useful[edge[2]]) : []);
    work.spend(VISIT * (1 + out.length), where);
    if (work.isDue) yield;
  }
  return { start, accepting, edges: kept };
}

/** Whether an automaton accepts no text. */
export function isEmpty({ start, accepting, edges }: Dfa): boolean {
  return !accepting[start] && edges[start]!.length === 0;
}

/** An automaton whose states are computed on demand. It may have any number of states, of which few are reached. */
export interface Machine {
  start: number;
  accepts(state: number): boolean;
  edgesOf(state: number): readonly Edge[];
  /** Name of the limited quantity in errors about too many states. */
  states: string;
}

/** Returns the intersection of two automata. @throws HeddleError INVALID_ARGUMENT with the exceeded limit */
export function* intersectInSlices(a: Dfa, b: Dfa | Machine, where: string, work: Work): Slices<Dfa> {
  const other: Machine =
    "edgesOf" in b
      ? b
      : { start: b.start, accepts: (y) => b.accepting[y]!, edgesOf: (y) => b.edges[y]!, states: STATES };
  work.spend(VISIT * a.edges.length, where);
  const states = a.edges.map(() => new Map<number, number>());
  const pairs: [number, number][] = [];
  const stateOf = (x: number, y: number): number => {
    const known = states[x]!.get(y);
    if (known !== undefined) return known;
    if (pairs.length >= limits.patternStates) throw tooLarge(where, limits.patternStates, other.states);
    states[x]!.set(y, pairs.length);
    return pairs.push([x, y]) - 1;
  };
  stateOf(a.start, other.start);
  const edges: Edge[][] = [];
  for (let i = 0; i < pairs.length; i++) {
    const [x, y] = pairs[i]!;
    const out: Edge[] = [];
    const otherEdges = other.edgesOf(y);
    work.spend(DFA_EDGE + a.edges[x]!.length * otherEdges.length, where);
    for (const [low, high, to] of a.edges[x]!)
      for (const edge of otherEdges) {
        const [from, until] = [Math.max(low, edge[0]), Math.min(high, edge[1])];
        if (from <= until) out.push([from, until, stateOf(to, edge[2])]);
      }
    work.spend(DFA_EDGE * out.length, where);
    edges.push(out);
    if (work.isDue) yield;
  }
  const accepting = pairs.map(([x, y]) => a.accepting[x]! && other.accepts(y));
  return yield* trimmed({ start: 0, accepting, edges }, work, where);
}

/** Whether an automaton accepts a text, given as its bytes. */
export function* accepts(
  { start, accepting, edges }: Dfa,
  bytes: Uint8Array,
  where: string,
  work: Work,
): Slices<boolean> {
  let state = start;
  for (const byte of bytes) {
    const out = edges[state]!;
    work.spend(1 + out.length, where);
    if (work.isDue) yield;
    const edge = out.find(([low, high]) => low <= byte && byte <= high);
    if (!edge) return false;
    state = edge[2];
  }
  return accepting[state]!;
}

/** Returns the automaton of strings of `least` to `most` characters, as inside JSON quotes. */
export function lengthDfa(least: number, most: number, where: string, work: Work): Slices<Dfa> {
  return dfaInSlices({ kind: "repeat", part: { kind: "set", set: ANYTHING }, least, most }, "json", where, work);
}
