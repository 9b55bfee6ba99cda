// Builds grammars as recursive transition networks: rules consist of nodes, whose edges read bytes or call rules.
import { HeddleError } from "../core/errors.ts";
import type { Slices } from "../core/slices.ts";
import { limits, tooLarge, Work } from "./limits.ts";
import type { Dfa, Edge } from "./regular.ts";

/**
 * Conditions of a free edge on the rule's counter. `count` requires a count below the maximum, and adds 1. `enough`
 * requires a count of at least the minimum.
 */
export const Guard = { none: 0, count: 1, enough: 2 } as const;

/** An edge that reads nothing, with its condition. */
export interface FreeEdge {
  to: number;
  guard: (typeof Guard)[keyof typeof Guard];
}

type GrammarNode =
  /**
   * Reads a byte. At most one edge matches it. `character`: the byte begins a character of a JSON string in which every character is allowed.
   */
  | { kind: "bytes"; edges: readonly Edge[]; rule: number; character: boolean }
  /** Chooses among edges that read nothing. Guards refer to the counter of `rule`. */
  | { kind: "free"; edges: readonly FreeEdge[]; rule: number }
  /** Reads a text of `rule`, and continues at `after`. */
  | { kind: "call"; rule: number; after: number }
  /** Ends its rule. */
  | { kind: "end" };

/** A rule, and the bounds of its counter, which starts at 0 in each call. */
interface Rule {
  start: number;
  least: number;
  most: number;
}

/** Makes an edge that reads nothing and has no condition. */
export const free = (to: number): FreeEdge => ({ to, guard: Guard.none });

/** Units of work for making a node. */
const NODE = 80;
/** Units of work for making an edge. */
const EDGE = 20;
/** Units of work for visiting a node or an edge. */
const LOOK = 4;
/** Number of bytes of a text that become nodes between two yields. */
const CHUNK = 512;

/** The node that ends every rule. */
export const END = 0;

/** A finished grammar. A document can be completed from every node that can be reached. */
export interface Grammar {
  readonly nodes: readonly GrammarNode[];
  readonly rules: readonly Rule[];
  readonly root: number;
  /** Texts that added tokens may represent. Added tokens with other texts match nothing. */
  readonly markup?: readonly string[];
}

/** Builds rules from their end to their beginning, because a node refers to the nodes that follow it. */
export class GrammarBuilder {
  readonly nodes: GrammarNode[] = [{ kind: "end" }];
  readonly rules: Rule[] = [];
  /** Name of the grammar in messages. */
  readonly where: string;
  /** The budget of the compilation. */
  readonly work: Work;

  constructor(where: string, work = new Work()) {
    this.where = where;
    this.work = work;
  }

  /** Makes a rule whose start is set later. */
  rule(least = 0, most = Number.POSITIVE_INFINITY): number {
    if (this.rules.length >= limits.rules) throw tooLarge(this.where, limits.rules, "different schemas");
    this.work.spend(NODE, this.where);
    return this.rules.push({ start: -1, least, most }) - 1;
  }

  private push(node: GrammarNode): number {
    if (this.nodes.length >= limits.nodes) throw this.tooManyNodes();
    this.work.spend(NODE + ("edges" in node ? EDGE * node.edges.length : 0), this.where);
    return this.nodes.push(node) - 1;
  }

  private tooManyNodes(): HeddleError {
    return tooLarge(this.where, limits.nodes, "states of its automaton");
  }

  bytes(rule: number, edges: readonly Edge[], character = false): number {
    return this.push({ kind: "bytes", edges, rule, character });
  }

  /** Makes a choice among nodes. */
  choice(targets: readonly number[]): number {
    return targets.length === 1 ? targets[0]! : this.guarded(-1, targets.map(free));
  }

  /** Makes a choice that depends on the rule's counter. */
  guarded(rule: number, edges: readonly FreeEdge[]): number {
    return this.push({ kind: "free", edges, rule });
  }

  /** Makes a choice whose targets are set later, because they lead back to it. */
  loop(rule: number): { node: number; set(edges: readonly FreeEdge[]): void } {
    const node = this.guarded(rule, []);
    return {
      node,
      set: (edges) => {
        this.work.spend(EDGE * edges.length, this.where);
        this.nodes[node] = { kind: "free", edges, rule };
      },
    };
  }

  call(rule: number, after: number): number {
    return this.push({ kind: "call", rule, after });
  }

  /** Checks that `count` more nodes fit, before anything is allocated for them. */
  checkRoom(count: number): void {
    if (this.nodes.length + count > limits.nodes) throw this.tooManyNodes();
  }

  /** Makes nodes that read exactly these bytes. Use `text` for long texts. */
  literal(rule: number, text: string | Uint8Array, then: number): number {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    this.checkRoom(bytes.length);
    let node = then;
    for (let i = bytes.length - 1; i >= 0; i--) node = this.bytes(rule, [[bytes[i]!, bytes[i]!, node]]);
    return node;
  }

  /** Makes nodes that read exactly these bytes, and yields regularly. */
  *text(rule: number, text: string | Uint8Array, then: number): Slices<number> {
    this.checkRoom(text.length);
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    this.checkRoom(bytes.length);
    let node = then;
    for (let end = bytes.length; end > 0; end -= CHUNK) {
      node = this.literal(rule, bytes.subarray(Math.max(0, end - CHUNK), end), node);
      if (this.work.isDue) yield;
    }
    return node;
  }

  /** Makes nodes that read what an automaton accepts. */
  *automaton(rule: number, dfa: Dfa, then: number): Slices<number> {
    this.checkRoom(2 * dfa.edges.length);
    const entries = dfa.edges.map(() => this.loop(rule));
    for (const [state, edges] of dfa.edges.entries()) {
      const node = this.bytes(
        rule,
        edges.map(([low, high, to]): Edge => [low, high, entries[to]!.node]),
      );
      const targets = dfa.accepting[state] ? [node, then] : [node];
      entries[state]!.set(targets.map(free));
      if (this.work.isDue) yield;
    }
    return entries[dfa.start]!.node;
  }

  /**
   * Finishes the grammar. Removes edges to nodes from which no document can be completed. Every text that the grammar can read is then the
   * beginning of a document.
   * @throws HeddleError INVALID_ARGUMENT if nothing is left, or if a rule can begin with itself
   */
  *finish(root: number): Slices<Grammar> {
    yield* this.refuseLoops();
    const useful = yield* this.completable();
    if (!useful[this.rules[root]!.start])
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${this.where}: expected a satisfiable constraint, got a contradiction`,
      );
    const nodes: GrammarNode[] = [];
    for (const node of this.nodes) {
      nodes.push(onlyTo(node, useful));
      this.look(node);
      if (this.work.isDue) yield;
    }
    return { nodes, rules: this.rules, root };
  }

  private look(node: GrammarNode): void {
    this.work.spend(LOOK * ("edges" in node ? 1 + node.edges.length : 1), this.where);
  }

  /** Returns which nodes lead to the end of their rule through rules that can be completed: a least fixed point. */
  private *completable(): Slices<Uint8Array> {
    const { nodes, rules } = this;
    // For each node, list the nodes to visit again when it is found useful: its predecessors, and the callers of the rule that it starts.
    // The lists of all nodes are concatenated. The list of node i starts at `ends[i]` and ends before `ends[i + 1]`.
    const ends = new Int32Array(nodes.length + 1);
    for (const node of nodes) {
      forEachNext(node, rules, (next) => {
        ends[next + 1]!++;
      });
      this.look(node);
      if (this.work.isDue) yield;
    }
    for (let i = 0; i < nodes.length; i++) ends[i + 1]! += ends[i]!;
    const before = new Int32Array(ends[nodes.length]!);
    const places = ends.slice(0, nodes.length);
    for (const [id, node] of nodes.entries()) {
      forEachNext(node, rules, (next) => {
        before[places[next]!++] = id;
      });
      this.look(node);
      if (this.work.isDue) yield;
    }
    const useful = new Uint8Array(nodes.length);
    const stack = [END];
    useful[END] = 1;
    while (stack.length > 0) {
      const at = stack.pop()!;
      for (let i = ends[at]!; i < ends[at + 1]!; i++) {
        const id = before[i]!;
        if (useful[id]) continue;
        const node = nodes[id]!;
        if (node.kind === "call" && !(useful[node.after] && useful[rules[node.rule]!.start])) continue;
        useful[id] = 1;
        stack.push(id);
      }
      this.work.spend(LOOK * (1 + ends[at + 1]! - ends[at]!), this.where);
      if (this.work.isDue) yield;
    }
    return useful;
  }

  /** Refuses rules that call themselves before they read a byte, because such calls would not end. */
  private *refuseLoops(): Slices<void> {
    const { rules } = this;
    const called: number[][] = [];
    for (const { start } of rules) called.push(yield* this.firstCalls(start));
    const state = new Uint8Array(rules.length); // of a depth-first search: 1 in progress, 2 done
    // For each rule, the number of rules in the longest chain of calls that begins with it. No rule in the chain reads a byte before it calls the next.
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
          this.work.spend(LOOK * (1 + called[top.rule]!.length), this.where);
          if (this.work.isDue) yield;
          stack.pop();
        } else if (state[rule] === 1) throw recursion(this.where);
        else if (state[rule] === 0) {
          state[rule] = 1;
          stack.push({ rule, next: 0 });
        }
      }
    }
  }

  /**
   * Returns the rules that a node may call before it reads a byte. Every called rule reads at least one byte, so the nodes after a call do not
   * matter.
   */
  private *firstCalls(start: number): Slices<number[]> {
    if (start < 0) return [];
    const seen = new Set([start]);
    const out = new Set<number>();
    for (const id of seen) {
      const node = this.nodes[id]!;
      if (node.kind === "call") out.add(node.rule);
      else if (node.kind === "free") for (const edge of node.edges) seen.add(edge.to);
      this.look(node);
      if (this.work.isDue) yield;
    }
    return [...out];
  }
}

/**
 * Calls `use` with each node that `node` leads to. A call leads to the start of its rule and to the node after the
 * call.
 */
function forEachNext(node: GrammarNode, rules: readonly Rule[], use: (next: number) => void): void {
  if (node.kind === "bytes") for (const edge of node.edges) use(edge[2]);
  else if (node.kind === "free") for (const edge of node.edges) use(edge.to);
  else if (node.kind === "call") {
    use(node.after);
    const { start } = rules[node.rule]!;
    if (start >= 0) use(start);
  }
}

/** Returns a node without edges to nodes that are not useful. */
function onlyTo(node: GrammarNode, useful: Uint8Array): GrammarNode {
  if (node.kind === "bytes" && !node.edges.every((edge) => useful[edge[2]]))
    return { ...node, edges: node.edges.filter((edge) => useful[edge[2]]) };
  if (node.kind === "free" && !node.edges.every((edge) => useful[edge.to]))
    return { ...node, edges: node.edges.filter((edge) => useful[edge.to]) };
  return node;
}

/** Returns the error for a schema that refers to itself without an object or array in between. */
export function recursion(where: string): HeddleError {
  return new HeddleError(
    "INVALID_ARGUMENT",
    `${where}: expected recursion through an object or array, got a schema that refers to itself directly`,
  );
}
