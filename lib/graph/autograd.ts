import { HeddleError } from "../errors.ts";
import { opRow } from "./op-table.ts";
import { add } from "./ops/elementwise.ts";
import { activeTrace } from "./trace.ts";
import { fixed, type Node, sameShape, type Value } from "./value.ts";

/**
 * Reverse-mode differentiation, graph to graph: appends to the active trace the nodes that compute d loss / d each of
 * `wrt`, and returns those values in order.
 *
 * @param loss (1) f32
 * @param seed the gradient of the loss itself, (1) f32; typically an input that holds 1
 * @throws HeddleError INVALID_ARGUMENT where the loss does not depend on one of `wrt`, UNSUPPORTED where an op on the way has no vjp
 */
export function gradients(loss: Value, wrt: readonly Value[], seed: Value): Value[] {
  if (loss.dtype !== "f32" || loss.rank !== 1 || fixed(loss.dim(0), "loss") !== 1)
    throw new HeddleError("SHAPE_MISMATCH", `gradients: loss, expected f32(1), got ${loss}`);
  const trace = activeTrace();
  const forward = trace.nodes.slice();
  const needed = dependents(forward, wrt);
  const gradient = new Map<Value, Value>([[loss, seed]]);
  for (const node of forward.reverse()) {
    if (!needed.has(node)) continue;
    const incoming = node.outputs.map((o) => gradient.get(o));
    if (incoming.every((g) => g === undefined)) continue;
    const row = opRow(node.op);
    if (!row.vjp) throw new HeddleError("UNSUPPORTED", `gradients: expected a differentiable op, got ${node.op}`);
    const outgoing = row.vjp(node, incoming);
    node.inputs.forEach((input, i) => {
      const g = outgoing[i];
      if (!input || !g || !(wrt.includes(input) || (input.source.kind === "node" && needed.has(input.source.node))))
        return;
      if (!sameShape(g.shape, input.shape))
        throw new HeddleError("INTERNAL", `${node.op}: expected a gradient like ${input}, got ${g}`);
      const known = gradient.get(input);
      gradient.set(input, known ? add(known, g) : g);
    });
  }
  return wrt.map((v) => {
    const g = gradient.get(v);
    if (!g)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `gradients: expected a value that the loss depends on, got ${describeSource(v)}`,
      );
    return g;
  });
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
