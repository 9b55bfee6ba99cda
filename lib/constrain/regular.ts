// Patterns as deterministic automata over bytes: Thompson's construction, then subsets, both with caps.

import { atOnce, type Slices } from "../tokenizer/slices.ts";
import { type ByteSequence, type CodePoints, jsonOf, utf8Of } from "./code-points.ts";
import { limits, tooLarge, unsupported } from "./limits.ts";
import { ANYTHING, type Pattern } from "./pattern.ts";

/** Bytes from `low` to `high` lead to a state. */
export type Edge = readonly [low: number, high: number, to: number];

/** Deterministic; from every state an accepting one can be reached, unless there is none at all. */
export interface Dfa {
  start: number;
  accepting: readonly boolean[];
  edges: readonly (readonly Edge[])[];
}

/** How characters are written: as they are, or as within a string of JSON. */
export type Writing = "plain" | "json";

/** What messages say there are too many of. */
const STATES = "states of its automaton";

/** Work that patterns may still cost: of a schema, all of them together. */
export class Budget {
  private left: number = limits.patternSteps;

  spend(work: number, where: string): void {
    this.left -= work;
    if (this.left < 0) throw tooLarge(where, limits.patternSteps, "steps to make patterns deterministic");
  }
}

/**
 * The automaton of a pattern without anchors (`wholeTexts`).
 * @param where what messages call it
 * @throws HeddleError INVALID_ARGUMENT naming the cap that it exceeds
 */
export function* dfaInSlices(pattern: Pattern, writing: Writing, where: string, budget = new Budget()): Slices<Dfa> {
  return yield* determinize(new Nfa(writing, where), pattern, where, budget);
}

/** The same without a pause, of what is known to be small. */
export function dfaOf(pattern: Pattern, writing: Writing, where: string, budget?: Budget): Dfa {
  return atOnce(dfaInSlices(pattern, writing, where, budget));
}

class Nfa {
  /** Transitions without a byte. */
  readonly free: number[][] = [];
  readonly edges: Edge[][] = [];
  private readonly writing: Writing;
  private readonly where: string;
  private readonly characters = new Map<CodePoints, Edge[][]>();

  constructor(writing: Writing, where: string) {
    this.writing = writing;
    this.where = where;
  }

  node(): number {
    if (this.free.length >= limits.patternNodes)
      throw tooLarge(this.where, limits.patternNodes, "states (a pattern repeats too often)");
    this.edges.push([]);
    return this.free.push([]) - 1;
  }

  /** Adds what leads from a node through a text of the pattern. @returns the node after it */
  add(pattern: Pattern, from: number): number {
    switch (pattern.kind) {
      case "set":
        return this.addSet(pattern.set, from);
      case "concat":
        return pattern.parts.reduce((node, part) => this.add(part, node), from);
      case "either": {
        const to = this.node();
        for (const part of pattern.parts) this.free[this.add(part, this.after(from))]!.push(to);
        return to;
      }
      case "repeat":
        return this.addRepeat(pattern.part, pattern.least, pattern.most, from);
      default:
        throw unsupported(this.where, "an anchor here");
    }
  }

  private after(from: number): number {
    const node = this.node();
    this.free[from]!.push(node);
    return node;
  }

  private addRepeat(part: Pattern, least: number, most: number, from: number): number {
    let node = this.after(from);
    // A part without states of its own is nothing, however often.
    const once = this.free.length;
    for (let i = 0; i < least; i++) {
      node = this.add(part, node);
      if (i === 0 && this.free.length === once) return node;
    }
    if (most === Number.POSITIVE_INFINITY) {
      const loop = this.after(node);
      this.free[this.add(part, loop)]!.push(loop);
      return this.after(loop);
    }
    const to = this.node();
    this.free[node]!.push(to);
    for (let i = least; i < most; i++) {
      const before = this.free.length;
      node = this.add(part, node);
      if (this.free.length === before) break;
      this.free[node]!.push(to);
    }
    return to;
  }

  private addSet(set: CodePoints, from: number): number {
    let character = this.characters.get(set);
    if (!character) {
      character = characterEdges(this.writing === "json" ? jsonOf(set) : utf8Of(set));
      this.characters.set(set, character);
    }
    const to = this.node();
    const nodes = character.map((_, i) => (i === 0 ? from : this.node()));
    for (const [i, edges] of character.entries())
      for (const [low, high, next] of edges) this.edges[nodes[i]!]!.push([low, high, next < 0 ? to : nodes[next]!]);
    return to;
  }
}

/**
 * The edges of one character's bytes, from node 0 to node −1. Sequences that begin alike share their beginning, those that end alike
 * their end: what is left after a byte is one node, whatever came before it.
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

function* determinize(nfa: Nfa, pattern: Pattern, where: string, budget: Budget): Slices<Dfa> {
  const first = nfa.node();
  const start = nfa.node();
  nfa.free[first]!.push(start);
  const end = nfa.add(pattern, start);
  const spend = (work: number) => budget.spend(work, where);
  spend(nfa.free.length);
  const mark = new Int32Array(nfa.free.length).fill(-1);
  let round = 0;
  /** What can be reached without a byte; of it, the nodes that bytes lead on from, and the end. */
  const closure = (nodes: readonly number[]): number[] => {
    round++;
    const stack = [...nodes];
    const out: number[] = [];
    while (stack.length > 0) {
      const node = stack.pop()!;
      if (mark[node] === round) continue;
      mark[node] = round;
      spend(1);
      if (nfa.edges[node]!.length > 0 || node === end) out.push(node);
      for (const next of nfa.free[node]!) if (mark[next] !== round) stack.push(next);
    }
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
  const edges: Edge[][] = [];
  for (let i = 0; i < sets.length; i++) {
    const set = sets[i]!;
    const all = set.flatMap((node) => nfa.edges[node]!);
    spend(all.length);
    // A node's own edges do not overlap.
    if (set.length === 1) edges.push(all.map(([low, high, to]) => [low, high, stateOf([to])]));
    else edges.push(yield* disjoint(all, stateOf, spend));
    yield;
  }
  return trimmed({ start: 0, accepting: sets.map((set) => set.includes(end)), edges });
}

/** Edges that overlap, as edges that do not: a byte leads to the state of all nodes that it led to. */
function* disjoint(
  all: readonly Edge[],
  stateOf: (nodes: readonly number[]) => number,
  spend: (n: number) => void,
): Slices<Edge[]> {
  const cuts = [...new Set(all.flatMap(([low, high]) => [low, high + 1]))].sort((a, b) => a - b);
  const out: [number, number, number][] = [];
  for (let c = 0; c + 1 < cuts.length; c++) {
    const [low, next] = [cuts[c]!, cuts[c + 1]!];
    spend(all.length);
    yield;
    const targets = all.filter((edge) => edge[0] <= low && low <= edge[1]).map((edge) => edge[2]);
    if (targets.length === 0) continue;
    const to = stateOf(targets);
    const last = out.at(-1);
    if (last && last[2] === to && last[1] === low - 1) last[1] = next - 1;
    else out.push([low, next - 1, to]);
  }
  return out;
}

/** Leaves out what leads nowhere. */
function trimmed({ start, accepting, edges }: Dfa): Dfa {
  const before: number[][] = edges.map(() => []);
  for (const [from, out] of edges.entries()) for (const edge of out) before[edge[2]]!.push(from);
  const useful = [...accepting];
  const stack = accepting.flatMap((yes, state) => (yes ? [state] : []));
  while (stack.length > 0)
    for (const state of before[stack.pop()!]!)
      if (!useful[state]) {
        useful[state] = true;
        stack.push(state);
      }
  return {
    start,
    accepting,
    edges: edges.map((out, state) => (useful[state] ? out.filter((edge) => useful[edge[2]]) : [])),
  };
}

/** Whether it accepts no text at all. */
export function isEmpty({ start, accepting, edges }: Dfa): boolean {
  return !accepting[start] && edges[start]!.length === 0;
}

/** An automaton whose states are looked at one by one: it may have any number of them, of which few are reached. */
export interface Machine {
  start: number;
  accepts(state: number): boolean;
  edgesOf(state: number): readonly Edge[];
  /** What messages say there are too many of. */
  states: string;
}

/** What both accept. @throws HeddleError INVALID_ARGUMENT naming the cap */
export function* intersectInSlices(a: Dfa, b: Dfa | Machine, where: string, budget = new Budget()): Slices<Dfa> {
  const other: Machine =
    "edgesOf" in b
      ? b
      : { start: b.start, accepts: (y) => b.accepting[y]!, edgesOf: (y) => b.edges[y]!, states: STATES };
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
    const its = other.edgesOf(y);
    budget.spend(a.edges[x]!.length * its.length, where);
    for (const [low, high, to] of a.edges[x]!)
      for (const edge of its) {
        const [from, until] = [Math.max(low, edge[0]), Math.min(high, edge[1])];
        if (from <= until) out.push([from, until, stateOf(to, edge[2])]);
      }
    edges.push(out);
    yield;
  }
  return trimmed({ start: 0, accepting: pairs.map(([x, y]) => a.accepting[x]! && other.accepts(y)), edges });
}

/** The same without a pause, of what is known to be small. */
export function intersect(a: Dfa, b: Dfa | Machine, where: string, budget?: Budget): Dfa {
  return atOnce(intersectInSlices(a, b, where, budget));
}

/** Whether it accepts a text, given as its bytes. */
export function accepts({ start, accepting, edges }: Dfa, bytes: Uint8Array): boolean {
  let state: number | undefined = start;
  for (const byte of bytes) {
    state = edges[state]!.find(([low, high]) => low <= byte && byte <= high)?.[2];
    if (state === undefined) return false;
  }
  return accepting[state]!;
}

/** Strings of so many characters, as within JSON's quotes. */
export function lengthDfa(least: number, most: number, where: string, budget = new Budget()): Slices<Dfa> {
  return dfaInSlices({ kind: "repeat", part: { kind: "set", set: ANYTHING }, least, most }, "json", where, budget);
}
