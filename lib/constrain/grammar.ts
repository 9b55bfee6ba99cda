// A grammar as a recursive transition network: rules made of nodes, whose edges read bytes or call rules.
import { HeddleError } from "../errors.ts";
import type { Slices } from "../tokenizer/slices.ts";
import { limits, tooLarge } from "./limits.ts";
import type { Dfa, Edge } from "./regular.ts";

/** What a free edge asks of its rule's counter, and does to it. */
export const Guard = { none: 0, count: 1, enough: 2 } as const;

/** An edge that reads nothing: `count` needs room for one more and counts it, `enough` needs the least number. */
export interface FreeEdge {
  to: number;
  guard: (typeof Guard)[keyof typeof Guard];
}

export type GrammarNode =
  /** Reads a byte; at most one edge fits it. */
  | { kind: "bytes"; edges: readonly Edge[]; rule: number; character: boolean }
  | { kind: "free"; edges: readonly FreeEdge[]; rule: number }
  | { kind: "call"; rule: number; after: number }
  | { kind: "end" };

/** A counter counts from 0 in each activation of a rule. */
export interface Rule {
  start: number;
  least: number;
  most: number;
}

export const free = (to: number): FreeEdge => ({ to, guard: Guard.none });

/** Nodes that are gone through between two yields. */
const SLICE = 2048;

/** The node that ends every rule. */
export const END = 0;

/** Nodes that can be completed, of rules that can. */
export interface Grammar {
  readonly nodes: readonly GrammarNode[];
  readonly rules: readonly Rule[];
  readonly root: number;
  /** Texts that an added token may stand for; other added tokens stand for no text here. */
  readonly markup?: readonly string[];
}

/** Makes nodes from the end to the beginning of a rule: each names those that follow it. */
export class GrammarBuilder {
  readonly nodes: GrammarNode[] = [{ kind: "end" }];
  readonly rules: Rule[] = [];
  /** What messages call the whole. */
  readonly where: string;

  constructor(where: string) {
    this.where = where;
  }

  /** A rule whose beginning is set later. */
  rule(least = 0, most = Number.POSITIVE_INFINITY): number {
    if (this.rules.length >= limits.rules) throw tooLarge(this.where, limits.rules, "different schemas");
    return this.rules.push({ start: -1, least, most }) - 1;
  }

  private push(node: GrammarNode): number {
    if (this.nodes.length >= limits.nodes) throw this.tooManyNodes();
    return this.nodes.push(node) - 1;
  }

  private tooManyNodes(): HeddleError {
    return tooLarge(this.where, limits.nodes, "states of its automaton");
  }

  bytes(rule: number, edges: readonly Edge[], character = false): number {
    return this.push({ kind: "bytes", edges, rule, character });
  }

  /** A choice among nodes. */
  choice(targets: readonly number[]): number {
    return targets.length === 1 ? targets[0]! : this.guarded(-1, targets.map(free));
  }

  /** A choice by the counter of the rule. */
  guarded(rule: number, edges: readonly FreeEdge[]): number {
    return this.push({ kind: "free", edges, rule });
  }

  /** A choice whose targets are made after it: they lead back. */
  loop(rule: number): { node: number; set(edges: readonly FreeEdge[]): void } {
    const node = this.guarded(rule, []);
    return {
      node,
      set: (edges) => {
        this.nodes[node] = { kind: "free", edges, rule };
      },
    };
  }

  call(rule: number, after: number): number {
    return this.push({ kind: "call", rule, after });
  }

  /** Reads these very bytes. */
  literal(rule: number, text: string | Uint8Array, then: number): number {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    if (this.nodes.length + bytes.length > limits.nodes) throw this.tooManyNodes();
    let node = then;
    for (let i = bytes.length - 1; i >= 0; i--) node = this.bytes(rule, [[bytes[i]!, bytes[i]!, node]]);
    return node;
  }

  /** Reads what an automaton accepts. */
  automaton(rule: number, dfa: Dfa, then: number): number {
    const entries = dfa.edges.map(() => this.loop(rule));
    for (const [state, edges] of dfa.edges.entries()) {
      const node = this.bytes(
        rule,
        edges.map(([low, high, to]): Edge => [low, high, entries[to]!.node]),
      );
      const targets = dfa.accepting[state] ? [node, then] : [node];
      entries[state]!.set(targets.map(free));
    }
    return entries[dfa.start]!.node;
  }

  /**
   * Leaves out all that cannot be completed, so that whatever has been read is the beginning of something whole.
   * @throws HeddleError INVALID_ARGUMENT where nothing is left, or a rule can begin with itself
   */
  *finish(root: number): Slices<Grammar> {
    yield* this.refuseLoops();
    const useful = yield* this.completable();
    if (!useful[this.rules[root]!.start])
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${this.where}: expected what some document satisfies, got a contradiction`,
      );
    const nodes: GrammarNode[] = [];
    for (const node of this.nodes) {
      if (node.kind === "bytes") nodes.push({ ...node, edges: node.edges.filter((edge) => useful[edge[2]]) });
      else if (node.kind === "free") nodes.push({ ...node, edges: node.edges.filter((edge) => useful[edge.to]) });
      else nodes.push(node);
      if (nodes.length % SLICE === 0) yield;
    }
    return { nodes, rules: this.rules, root };
  }

  /** Which nodes lead to the end of their rule through rules that do: a least fixed point. */
  private *completable(): Slices<boolean[]> {
    const { nodes, rules } = this;
    const useful: boolean[] = new Array(nodes.length).fill(false);
    // Whom to look at again once a node is known to be useful: those before it, and the callers of the rule that it begins.
    const before: number[][] = nodes.map(() => []);
    for (const [id, node] of nodes.entries()) {
      if (id % SLICE === 0) yield;
      if (node.kind === "bytes") for (const edge of node.edges) before[edge[2]]!.push(id);
      else if (node.kind === "free") for (const edge of node.edges) before[edge.to]!.push(id);
      else if (node.kind === "call") {
        before[node.after]!.push(id);
        const { start } = rules[node.rule]!;
        if (start >= 0) before[start]!.push(id);
      }
    }
    const stack = [END];
    useful[END] = true;
    for (let steps = 1; stack.length > 0; steps++) {
      if (steps % SLICE === 0) yield;
      for (const id of before[stack.pop()!]!) {
        const node = nodes[id]!;
        if (useful[id]) continue;
        if (node.kind === "call" && !(useful[node.after] && useful[rules[node.rule]!.start])) continue;
        useful[id] = true;
        stack.push(id);
      }
    }
    return useful;
  }

  /** A rule that calls itself before it has read a byte would be called without end. */
  private *refuseLoops(): Slices<void> {
    const { nodes, rules } = this;
    const called: number[][] = [];
    for (const { start } of rules) {
      called.push(firstCalls(nodes, start));
      if (called.length % 64 === 0) yield;
    }
    const state = new Uint8Array(rules.length); // 1: being looked at, 2: done
    const height = new Uint32Array(rules.length);
    for (let root = 0; root < rules.length; root++) {
      const stack = [{ rule: root, next: 0 }];
      if (state[root] !== 0) continue;
      state[root] = 1;
      while (stack.length > 0) {
        const top = stack.at(-1)!;
        const rule = called[top.rule]![top.next++];
        if (rule === undefined) {
          state[top.rule] = 2;
          height[top.rule] = 1 + called[top.rule]!.reduce((most, rule) => Math.max(most, height[rule]!), 0);
          if (height[top.rule]! > limits.chain)
            throw tooLarge(this.where, limits.chain, "schemas that each begin with the next");
          stack.pop();
        } else if (state[rule] === 1) throw recursion(this.where);
        else if (state[rule] === 0) {
          state[rule] = 1;
          stack.push({ rule, next: 0 });
        }
      }
    }
  }
}

export function recursion(where: string): HeddleError {
  return new HeddleError(
    "INVALID_ARGUMENT",
    `${where}: expected recursion within an object or array, got a schema that is itself`,
  );
}

/** The rules that a node may call before it has read a byte. */
function firstCalls(nodes: readonly GrammarNode[], start: number): number[] {
  if (start < 0) return [];
  const seen = new Set([start]);
  const out = new Set<number>();
  for (const id of seen) {
    const node = nodes[id]!;
    if (node.kind === "call") out.add(node.rule);
    else if (node.kind === "free") for (const edge of node.edges) seen.add(edge.to);
  }
  return [...out];
}
