import type { Node, Value } from "../value.ts";

/**
 * Rewrites a program's nodes for speed. It groups linears with the same input, adds up the gradients of tied embeddings
 * in place, and computes log-probabilities together with their gradients. The trace itself stays unchanged.
 * @param results the values that the program copies out
 */
export function fuse(nodes: readonly Node[], results: readonly Value[] = []): Node[] {
  return gatherLinears(fuseScatters(fuseLogprobs(nodes.slice()), results));
}

/** Moves linears with the same input next to each other, so that the runtime can run them as one. */
function gatherLinears(nodes: readonly Node[]): Node[] {
  const ordered: Node[] = [];
  /** Index in `ordered` of the last linear of each input. */
  const last = new Map<Value, number>();
  for (const node of nodes) {
    const [x, ...rest] = node.inputs;
    const at = node.op === "linear" ? last.get(x!) : undefined;
    // A linear may move up if its other operands are tensors, which exist from the start, and no node in between writes an operand.
    const stored = rest.every((v) => !v || v.source.kind === "tensor");
    const untouched = () => !ordered.slice(at).some((n) => n.effect && n.inputs.some((v) => node.inputs.includes(v)));
    const place = at !== undefined && stored && untouched() ? at + 1 : ordered.length;
    ordered.splice(place, 0, node);
    if (place < ordered.length - 1) for (const [value, i] of last) if (i >= place) last.set(value, i + 1);
    if (node.op === "linear") last.set(x!, place);
  }
  return ordered;
}

/**
 * Fuses the gradient of a tied embedding. It adds the rows' gradients directly to the table's gradient from the output projection,
 * instead of building a table that is mostly zeros.
 */
function fuseScatters(nodes: Node[], results: readonly Value[]): Node[] {
  const uses = usesOf(nodes);
  for (const scatter of nodes.filter((n) => n.op === "embedding_backward" && n.inputs.length === 2)) {
    const [rows] = scatter.outputs;
    const sum = nodes.find((n) => n.op === "add" && n.inputs.includes(rows));
    if (!sum || uses.get(rows!) !== 1 || results.includes(rows!)) continue;
    const onto = sum.inputs.find((v) => v !== rows);
    if (onto?.dtype !== rows!.dtype || onto.rank !== rows!.rank || onto.shape.some((d, i) => d !== rows!.shape[i]))
      continue;
    const both: Node = { ...scatter, inputs: [...scatter.inputs, onto], outputs: sum.outputs };
    nodes = nodes.filter((n) => n !== scatter).map((n) => (n === sum ? both : n));
  }
  return nodes;
}

/** Counts how often each value is an operand. */
function usesOf(nodes: readonly Node[]): Map<Value, number> {
  const uses = new Map<Value, number>();
  for (const v of nodes.flatMap((n) => n.inputs)) if (v) uses.set(v, (uses.get(v) ?? 0) + 1);
  return uses;
}

/**
 * Fuses log-probabilities with their backward node, so that the logits are computed once. This is possible only if the
 * incoming gradient does not depend on the log-probabilities. Cross-entropy's weights do not, but DPO's sigmoid does.
 */
function fuseLogprobs(nodes: Node[]): Node[] {
  for (const forward of nodes.filter((n) => n.op === "token_logprob")) {
    const backwards = nodes.filter((n) => n.op === "token_logprob_backward" && n.inputs[4] === forward.outputs[1]);
    const [backward] = backwards;
    // The combined node does not support a bias.
    if (!backward || backwards.length > 1 || forward.inputs[3]) continue;
    const [dlogprob, h, w, targets, , dlse] = backward.inputs;
    if ([h, w, targets].some((v, i) => v !== forward.inputs[i])) continue;
    const from = nodes.indexOf(forward);
    const between = nodes.slice(from + 1, nodes.indexOf(backward));
    const before = neededBy([dlogprob, dlse], between);
    if ([...before].some((n) => n.effect || dependsOn(n, forward, nodes))) continue;
    if ([dlogprob, dlse].some((v) => v && forward.outputs.includes(v))) continue;
    const both: Node = {
      ...backward,
      op: "token_logprob_with_gradient",
      inputs: [dlogprob, h, w, targets, ...(dlse ? [dlse] : [])],
      outputs: [...forward.outputs, ...backward.outputs],
    };
    const rest = between.filter((n) => !before.has(n));
    nodes.splice(from, between.length + 2, ...before, both, ...rest);
  }
  return nodes;
}

/** Returns the nodes that the values depend on, in order. */
function neededBy(values: readonly (Value | undefined)[], nodes: readonly Node[]): Set<Node> {
  const wanted = new Set(values);
  const found: Node[] = [];
  for (const node of nodes.slice().reverse()) {
    if (!node.outputs.some((o) => wanted.has(o))) continue;
    found.push(node);
    for (const v of node.inputs) wanted.add(v);
  }
  return new Set(found.reverse());
}

/** Whether a node depends, directly or indirectly, on an output of another. */
function dependsOn(node: Node, other: Node, nodes: readonly Node[]): boolean {
  return neededBy(node.inputs, nodes).has(other);
}
