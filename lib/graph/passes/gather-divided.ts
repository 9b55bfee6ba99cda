import { byteLength } from "../dtype.ts";
import type { DividedTensor } from "../trace.ts";
import { type Node, Value } from "../value.ts";

/** A divided tensor in one of the types that nodes read. */
interface Form {
  readonly parts: DividedTensor;
  readonly type: { dtype: "f32" | "bf16"; shape: readonly number[] };
  readonly bytes: number;
  /** Indices of the nodes that read it, ascending. */
  readonly uses: number[];
}

/**
 * Makes a program collect divided tensors (all-gather). A whole tensor is collected just before a use, and stays for the uses soon after.
 * It is collected again for later ones, so a weight of the forward pass does not stay until its backward pass. Casts of a divided tensor
 * disappear, because the ranks exchange converted parts.
 */
export function gatherDivided(nodes: readonly Node[], divided: ReadonlyMap<Value, DividedTensor>): readonly Node[] {
  if (divided.size === 0) return nodes;
  const { forms, casts } = formsOf(nodes, divided);
  const begins = new Map<Node, Form[]>();
  for (const form of new Set(forms.values()))
    for (const use of firstUses(form, forms, nodes))
      begins.set(nodes[use]!, [...(begins.get(nodes[use]!) ?? []), form]);
  const current = new Map<Form, Value>();
  const out: Node[] = [];
  for (const node of nodes) {
    if (casts.has(node)) continue;
    for (const form of begins.get(node) ?? []) {
      const gather = gatherNode(form);
      out.push(gather);
      current.set(form, gather.outputs[0]!);
    }
    const wholeOf = (v: Value | undefined) => {
      const form = v && forms.get(v);
      return form ? current.get(form)! : v;
    };
    const isReader = node.inputs.some((v) => v && forms.has(v));
    out.push(isReader ? { ...node, inputs: node.inputs.map(wholeOf) } : node);
  }
  return out;
}

/** Returns the form of each value that represents a divided tensor, and the casts of divided tensors. */
function formsOf(nodes: readonly Node[], divided: ReadonlyMap<Value, DividedTensor>) {
  const forms = new Map<Value, Form>();
  const casts = new Set<Node>();
  const known = new Map<string, Form>();
  const tensors = new Map([...divided.keys()].map((value, i) => [value, i]));
  const formOf = (tensor: Value, dtype: "f32" | "bf16"): Form => {
    const key = `${tensors.get(tensor)} ${dtype}`;
    const shape = tensor.shape as readonly number[];
    const made = { parts: divided.get(tensor)!, type: { dtype, shape }, bytes: byteLength(dtype, shape), uses: [] };
    const form = known.get(key) ?? made;
    known.set(key, form);
    return form;
  };
  for (const node of nodes) {
    const [from] = node.inputs;
    if (node.op !== "cast" || !from || !divided.has(from) || node.outputs[0]!.dtype !== "bf16") continue;
    casts.add(node);
    forms.set(node.outputs[0]!, formOf(from, "bf16"));
  }
  for (const [i, node] of nodes.entries()) {
    if (casts.has(node)) continue;
    for (const v of new Set(node.inputs)) {
      if (!v) continue;
      if (divided.has(v)) forms.set(v, formOf(v, "f32"));
      forms.get(v)?.uses.push(i);
    }
  }
  return { forms, casts };
}

/**
 * Returns the uses before which a form is collected. It stays until its next use if the other divided tensors read in between take, in
 * total, at most the largest tensor's bytes. So whole tensors together take at most about twice the largest one's size.
 */
function firstUses({ uses }: Form, forms: ReadonlyMap<Value, Form>, nodes: readonly Node[]): number[] {
  const most = Math.max(...[...forms.values()].map(({ bytes }) => bytes));
  return uses.filter((use, i) => {
    if (i === 0) return true;
    const others = new Set<Form>();
    for (const node of nodes.slice(uses[i - 1]! + 1, use))
      for (const v of node.inputs) {
        const form = v && forms.get(v);
        if (form && form.uses !== uses) others.add(form);
      }
    return [...others].reduce((sum, { bytes }) => sum + bytes, 0) > most;
  });
}

function gatherNode({ parts: { own, first, ends }, type }: Form): Node {
  const outputs: Value[] = [];
  const attributes: Record<string, number> = { first, ranks: ends.length };
  for (const [i, end] of ends.entries()) attributes[`end.${i}`] = end;
  const node: Node = { op: "all_gather", inputs: [own], attributes, outputs, effect: true, origin: "" };
  outputs.push(new Value(type, { kind: "node", node, index: 0 }, "all_gather"));
  return node;
}
