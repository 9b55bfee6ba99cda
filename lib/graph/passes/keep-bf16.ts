import { type Node, Value } from "../value.ts";

/**
 * Stores values in bf16 if all their readers are matrix products that round them to bf16 anyway. Kernels can write bf16 directly, which
 * halves the traffic between nodes and avoids rounded copies. The bits stay the same, except for attention with `activations: "int8"`.
 * That option allows rounding, and this pass makes it certain.
 * @param results the values that the program copies out, which are not changed
 * @param roundsExperts whether experts with quantized weights round their inputs if they may, as on CUDA
 */
export function narrow(nodes: readonly Node[], results: readonly Value[] = [], roundsExperts = false): Node[] {
  const readers = new Map<Value, Node[]>();
  const producers = new Map<Value, Node>();
  for (const node of nodes) {
    for (const v of node.inputs) if (v) readers.set(v, [...(readers.get(v) ?? []), node]);
    for (const v of node.outputs) producers.set(v, node);
  }
  const kept = new Set(results);
  const narrowed = new Map<Value, Value>();

  /** Returns a value and its views if `wanted` accepts all their readers, else undefined. */
  const withViews = (value: Value, wanted: (reader: Node, value: Value) => boolean): Value[] | undefined => {
    const all = [value];
    for (const v of all) {
      if (v.dtype !== "f32" || kept.has(v)) return undefined;
      for (const reader of readers.get(v) ?? [])
        if (reader.op === "reshape") all.push(reader.outputs[0]!);
        else if (!wanted(reader, v)) return undefined;
    }
    return all;
  };
  const viewed = (value: Value): Value => {
    const producer = producers.get(value);
    return producer?.op === "reshape" ? viewed(producer.inputs[0]!) : value;
  };
  const keepRounded = (values: readonly Value[]) => {
    for (const v of values) narrowed.set(v, new Value({ dtype: "bf16", shape: v.shape }, v.source));
  };

  for (const node of nodes) {
    const [first] = node.outputs;
    if (ROUNDING.has(node.op)) {
      const values = withViews(first!, (reader, value) => isRoundedBy(reader, value, roundsExperts));
      if (values) keepRounded(values);
    }
    if (node.op === "attention" && node.attributes.bf16) {
      const operands = node.inputs.slice(0, 3).map((v) => viewed(v!));
      const values = operands.map((v) =>
        producers.get(v)?.op === "linear" ? withViews(v, (reader) => reader === node) : undefined,
      );
      if (values.every((v) => v !== undefined)) values.forEach(keepRounded);
    }
  }
  if (narrowed.size === 0) return nodes.slice();
  const replaced = (v: Value) => narrowed.get(v) ?? v;
  return nodes.map((node) => {
    const inputs = node.inputs.map((v) => v && replaced(v));
    // An operand that is stored in bf16 needs no rounding, so drop the attribute `bf16`.
    const { bf16, ...others } = node.attributes;
    const rounds = bf16 !== undefined && inputs[0] === node.inputs[0];
    return { ...node, inputs, outputs: node.outputs.map(replaced), attributes: rounds ? node.attributes : others };
  });
}

/** Ops that can write their first output in bf16. */
const ROUNDING: ReadonlySet<string> = new Set([
  "gelu",
  "linear_activation",
  "linear_glu",
  "glu",
  "rms_norm",
  "layer_norm",
  "attention",
  "cached_attention",
]);

/**
 * Whether a node rounds a value to bf16 before every use. This holds for a linear with the attribute `bf16`, if the value is its input and no
 * other operand.
 */
function isRoundedBy(reader: Node, value: Value, roundsExperts: boolean): boolean {
  const { bf16, may_round } = reader.attributes;
  const rounds = LINEAR.has(reader.op) && (bf16 === 1 || (roundsExperts && may_round === 1));
  return rounds && reader.inputs.indexOf(value, 1) < 0;
}
const LINEAR: ReadonlySet<string> = new Set([
  "linear",
  "linear_activation",
  "linear_add",
  "linear_glu",
  "expert_linear",
]);
