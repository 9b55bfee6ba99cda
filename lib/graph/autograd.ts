import { HeddleError } from "../core/errors.ts";
import { needList, needNames, needValue } from "./expect.ts";
import { opRow } from "./op-table.ts";
import { add } from "./ops/elementwise.ts";
import { activeTrace, repeatNode, type Trace } from "./trace.ts";
import { fixed, type Node, sameShape, type Value } from "./value.ts";

/** Options of `gradients`. */
export interface GradientOptions {
  /**
   * Gradient checkpointing (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"): segments marked by `recomputable` are
   * computed a second time, from their inputs, just before their backward pass. Their intermediate values need not be kept until then.
   * The gradients are identical to the bit, because the same nodes run on the same values.
   */
  recompute?: boolean | undefined;
  /** Whether values that the loss does not depend on are left out of the result. Default: they are an error. */
  allowUnused?: boolean | undefined;
  /** Called with each gradient as soon as it is complete, so that gradients need not all be kept until the end. */
  collect?: ((gradient: Value, index: number) => void) | undefined;
}

/**
 * Differentiates the active trace in reverse mode. It appends the nodes that compute d loss / d w for each w of `wrt`, and returns these
 * gradients in order.
 *
 * @param loss (1) f32
 * @param seed the gradient of the loss itself, (1) f32; typically an input that holds 1
 * @param options.collect called with each gradient and its index in `wrt` when the gradient is complete
 * @throws HeddleError SHAPE_MISMATCH for a loss of another type. INVALID_ARGUMENT if the loss does not depend on one of `wrt`, unless
 * `allowUnused` is set. UNSUPPORTED if an op between them has no vjp
 */
export function gradients(loss: Value, wrt: readonly Value[], seed: Value, options: GradientOptions = {}): Value[] {
  needValue("gradients: loss", loss);
  needList("gradients: wrt", wrt);
  for (const value of wrt) needValue("gradients: wrt", value);
  needValue("gradients: seed", seed);
  needNames("gradients: options", options, ["recompute", "allowUnused", "collect"]);
  if (loss.dtype !== "f32" || loss.rank !== 1 || fixed(loss.dim(0), "loss") !== 1)
    throw new HeddleError("SHAPE_MISMATCH", `gradients: loss: expected f32(1), got ${loss}`);
  const trace = activeTrace();
  const forward = trace.nodes.slice();
  const needed = dependents(forward, wrt);
  const wanted = new Set(wrt);
  const gradient = new Map<Value, Value>([[loss, seed]]);
  const originals = options.recompute ? new Recomputation(trace, forward) : undefined;
  const firstUses = options.collect ? firstUsesOf(forward, wrt, needed) : undefined;
  const collectComplete = (place: number) => {
    for (const i of firstUses?.get(place) ?? []) {
      const g = gradient.get(wrt[i]!);
      if (g) options.collect!(g, i);
    }
  };
  for (let place = forward.length - 1; place >= 0; collectComplete(place--)) {
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

/** Repeats segments of the forward pass when their backward pass begins. */
class Recomputation {
  private readonly segments: readonly { from: number; to: number }[];
  private readonly forward: readonly Node[];
  private readonly copies = new Map<Node, Node>();

  constructor(trace: Trace, forward: readonly Node[]) {
    this.segments = trace.segments.slice();
    this.forward = forward;
  }

  /** Returns the second computation of a node, or undefined if the node is in no segment. */
  again(node: Node, place: number): Node | undefined {
    const segment = this.segments.find(({ from, to }) => place >= from && place < to);
    if (segment && !this.copies.has(node)) this.copy(segment);
    return this.copies.get(node);
  }

  /** Repeats all nodes of a segment in order. `compile` drops those that nothing reads. */
  private copy({ from, to }: { from: number; to: number }): void {
    const values = new Map<Value, Value>();
    for (const node of this.forward.slice(from, to)) {
      if (node.effect) continue; // an effect must not happen twice
      const copy = repeatNode(
        node,
        node.inputs.map((v) => v && (values.get(v) ?? v)),
      );
      this.copies.set(node, copy);
      for (const [i, output] of node.outputs.entries()) values.set(output, copy.outputs[i]!);
    }
  }
}

/**
 * Maps a node's index to the indices of the `wrt` values that this node is the first to use. Their gradients are complete when the backward
 * pass has processed that node.
 */
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

/** Returns the nodes that depend on any of `wrt`. Only these take part in the backward pass, so frozen layers below them cost nothing. */
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
