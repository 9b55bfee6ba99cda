import { HeddleError } from "../core/errors.ts";
import { needList, needNames, needValue } from "./expect.ts";
import { opRow } from "./op-table.ts";
import { add } from "./ops/elementwise.ts";
import { activeTrace, repeatNode, type Trace } from "./trace.ts";
import { fixed, type Node, sameShape, type Value } from "./value.ts";

/** Options of `gradients`. */
export interface GradientOptions {
  /**
   * Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): what `recomputable` marked is computed again
   * before its backward pass, from its inputs, so that nothing else of it is kept. The same nodes on the same values: the
   * gradients are the same bits.
   */
  recompute?: boolean | undefined;
  /** Values that the loss does not depend on are left out of the result, instead of an error. */
  allowUnused?: boolean | undefined;
  /** Called with each gradient as soon as it is whole, so that it need not be kept until all are. */
  collect?: ((gradient: Value, index: number) => void) | undefined;
}

/**
 * Reverse-mode differentiation, graph to graph: appends to the active trace the nodes that compute d loss / d each of
 * `wrt`, and returns those values in order.
 *
 * @param loss (1) f32
 * @param seed the gradient of the loss itself, (1) f32; typically an input that holds 1
 * @param options.collect called with each gradient when it is complete
 * @throws HeddleError INVALID_ARGUMENT if the loss does not depend on one of `wrt`, UNSUPPORTED if an op between them has no vjp
 */
export function gradients(loss: Value, wrt: readonly Value[], seed: Value, options: GradientOptions = {}): Value[] {
  needValue("gradients: loss", loss);
  needList("gradients: wrt", wrt);
  for (const value of wrt) needValue("gradients: wrt", value);
  needValue("gradients: seed", seed);
  needNames("gradients: options", options, ["recompute", "allowUnused", "collect"]);
  if (loss.dtype !== "f32" || loss.rank !== 1 || fixed(loss.dim(0), "loss") !== 1)
    throw new HeddleError("SHAPE_MISMATCH", `gradients: loss, expected f32(1), got ${loss}`);
  const trace = activeTrace();
  const forward = trace.nodes.slice();
  const needed = dependents(forward, wrt);
  const wanted = new Set(wrt);
  const gradient = new Map<Value, Value>([[loss, seed]]);
  const originals = options.recompute ? new Recomputation(trace, forward) : undefined;
  const firstUses = options.collect ? firstUsesOf(forward, wrt, needed) : undefined;
  const whole = (place: number) => {
    for (const i of firstUses?.get(place) ?? []) {
      const g = gradient.get(wrt[i]!);
      if (g) options.collect!(g, i);
    }
  };
  for (let place = forward.length - 1; place >= 0; whole(place--)) {
    const node = forward[place]!;
    if (!needed.has(node)) continue;
    const incoming = node.outputs.map((o) => gradient.get(o));
    if (incoming.every((g) => g === undefined)) continue;
    const row = opRow(node.op);
    if (!row.vjp) throw new HeddleError("UNSUPPORTED", `gradients: expected a differentiable op, got ${node.op}`);
    const read = node.inputs.map(
      (input) =>
        input !== undefined && (wanted.has(input) || (input.source.kind === "node" && needed.has(input.source.node))),
    );
    const outgoing = row.vjp(originals?.again(node, place) ?? node, incoming, read);
    node.inputs.forEach((input, i) => {
      const g = outgoing[i];
      if (!input || !g || !read[i]) return;
      if (!sameShape(g.shape, input.shape))
        throw new HeddleError("INTERNAL", `${node.op}: expected a gradient like ${input}, got ${g}`);
      const known = gradient.get(input);
      gradient.set(input, known ? add(known, g) : g);
    });
  }
  const reached = options.allowUnused ? wrt.filter((v) => gradient.has(v)) : wrt;
  return reached.map((v) => {
    const g = gradient.get(v);
    if (!g)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `gradients: expected a value that the loss depends on, got ${describeSource(v)}`,
      );
    return g;
  });
}

/** Parts of the forward pass, computed a second time when their backward pass begins. */
class Recomputation {
  private readonly segments: readonly { from: number; to: number }[];
  private readonly forward: readonly Node[];
  private readonly copies = new Map<Node, Node>();

  constructor(trace: Trace, forward: readonly Node[]) {
    this.segments = trace.segments.slice();
    this.forward = forward;
  }

  /** The second computation of a node that is in a segment. */
  again(node: Node, place: number): Node | undefined {
    const segment = this.segments.find(({ from, to }) => place >= from && place < to);
    if (segment && !this.copies.has(node)) this.copy(segment);
    return this.copies.get(node);
  }

  /** All of a segment, in order; what nobody reads is left out of the program. */
  private copy({ from, to }: { from: number; to: number }): void {
    const values = new Map<Value, Value>();
    for (const node of this.forward.slice(from, to)) {
      if (node.effect) continue; // has been done
      const copy = repeatNode(
        node,
        node.inputs.map((v) => v && (values.get(v) ?? v)),
      );
      this.copies.set(node, copy);
      for (const [i, output] of node.outputs.entries()) values.set(output, copy.outputs[i]!);
    }
  }
}

/** For each place in the forward pass, which of `wrt` have their first use there: backward, that is where their gradient is whole. */
function firstUsesOf(
  forward: readonly Node[],
  wrt: readonly Value[],
  needed: ReadonlySet<Node>,
): Map<number, number[]> {
  const places = new Map<number, number[]>();
  for (const [i, value] of wrt.entries()) {
    const place = forward.findIndex((node) => needed.has(node) && node.inputs.includes(value));
    places.set(place, [...(places.get(place) ?? []), i]);
  }
  return places;
}

/** The nodes that depend on any of `wrt`: only they take part in the backward pass (a frozen trunk costs nothing). */
function dependents(nodes: readonly Node[], wrt: readonly Value[]): Set<Node> {
  const values = new Set<Value>(wrt);
  const found = new Set<Node>();
  for (const node of nodes) {
    if (!node.inputs.some((v) => v && values.has(v))) continue;
    found.add(node);
    for (const o of node.outputs) values.add(o);
  }
  return found;
}

function describeSource(v: Value): string {
  return v.source.kind === "node" ? `${v.source.node.op} ${v}` : `${v.source.kind} ${v.source.name}`;
}
