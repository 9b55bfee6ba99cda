import { isFloat } from "../dtype.ts";
import { type Node, sameShape, type Value } from "../value.ts";

/**
 * Fuses a linear with the operation after it, its epilogue: an activation, a gate of two linears, or an addition. This is for devices
 * whose kernels apply epilogues to sums in registers (CUDA). The intermediate value is written only if other nodes read it. The result
 * equals that of separate nodes except for the rounding of the intermediate value.
 * @param results the values that the program copies out
 */
export function fuseEpilogues(nodes: readonly Node[], results: readonly Value[] = []): Node[] {
  const program = new EpilogueFuser(nodes, results);
  for (const node of nodes) {
    if (node.op === "glu") program.gate(node);
    else if (node.op === "gelu") program.activate(node, numberOf(node));
    else if (node.op === "unary" && node.attributes.function === UNARY_RELU) program.rectify(node);
    else if (node.op === "add") program.add(node);
  }
  return program.nodes;
}

/**
 * Fuses a linear with gelu, for the CPU. Other linears stay separate, because the native plan runs linears with the same
 * input as a group, and fuses additions itself. A gelu is fused only if nothing else reads its input. The input must be
 * f32: fusion skips the rounding of a narrower type, so the bits would depend on who reads the value.
 * @param results the values that the program copies out
 */
export function fuseActivations(nodes: readonly Node[], results: readonly Value[] = []): Node[] {
  const program = new EpilogueFuser(nodes, results);
  for (const node of nodes)
    if (node.op === "gelu" && program.isOnlyReader(node)) program.activate(node, numberOf(node));
  return program.nodes;
}

const numberOf = (gelu: Node) => (gelu.attributes.tanh ? GELU_TANH : GELU);

/** Numbers of the activations in native/ops/activation.h, and of relu in native/ops/unary.cc. */
const [GELU_TANH, GELU, RELU, SQUARED_RELU] = [1, 2, 3, 4];
const UNARY_RELU = 5;

class EpilogueFuser {
  nodes: Node[];
  private readonly results: ReadonlySet<Value>;
  /** The nodes that read each value, with one entry per read. */
  private readonly readers = new Map<Value, Node[]>();
  private readonly producers = new Map<Value, Node>();

  constructor(nodes: readonly Node[], results: readonly Value[]) {
    this.nodes = nodes.slice();
    this.results = new Set(results);
    for (const node of nodes) {
      for (const v of node.outputs) this.producers.set(v, node);
      for (const v of node.inputs) if (v) this.readers.set(v, [...(this.readers.get(v) ?? []), node]);
    }
  }

  /** Fuses act(x Wᵀ + b). The node also outputs the activation's input if other nodes read it. */
  activate(end: Node, activation: number, through: readonly Node[] = []): void {
    const product = this.productOf(through[0]?.inputs[0] ?? end.inputs[0]);
    if (!product) return;
    const [before] = product.outputs;
    const attributes = { ...product.attributes, activation };
    const kept = this.isRead(before!, [...through, end]) ? [before!] : [];
    const outputs = [end.outputs[0]!, ...kept];
    this.replace([product, ...through], end, {
      ...end,
      op: "linear_activation",
      inputs: product.inputs,
      outputs,
      attributes,
    });
  }

  /** Fuses relu, or relu² if the square is relu's only reader. */
  rectify(relu: Node): void {
    const [y] = relu.outputs;
    const [square] = this.readers.get(y!) ?? [];
    const squared = square?.op === "mul" && square.inputs.every((v) => v === y) && !this.isRead(y!, [square]);
    if (squared) this.activate(square, SQUARED_RELU, [relu]);
    else this.activate(relu, RELU);
  }

  /** Fuses act(x Gᵀ + b) · (x Uᵀ + c). The node also outputs both linears' results if other nodes read either. */
  gate(end: Node): void {
    const [gate, up] = end.inputs.map((v) => this.productOf(v));
    if (!gate || !up || gate === up) return;
    const [x, g, b] = gate.inputs;
    const [other, u, c] = up.inputs;
    const { transposed = 0, ...rest } = gate.attributes;
    const alike =
      x === other &&
      g!.dtype === u!.dtype &&
      sameShape(g!.shape, u!.shape) &&
      !transposed &&
      Object.entries({ ...gate.attributes, ...up.attributes }).every(
        ([name, value]) => gate.attributes[name] === value && up.attributes[name] === value,
      );
    if (!alike) return;
    const factors = [gate.outputs[0]!, up.outputs[0]!];
    const kept = factors.some((v) => this.isRead(v, [end])) ? factors : [];
    const attributes = { transposed, ...rest, activation: end.attributes.activation! };
    const outputs = [end.outputs[0]!, ...kept];
    this.replace([gate, up], end, { ...end, op: "linear_glu", inputs: [x, g, u, b, c], outputs, attributes });
  }

  /**
   * Fuses x Wᵀ + b + addend, or the same for a linear's input gradient. If both operands are products, it tries to fuse the later one
   * first.
   */
  add(end: Node): void {
    const [a, b] = end.inputs;
    if (a === b) return;
    const candidates = [a, b].flatMap((v) => {
      const product = this.productOf(v) ?? this.productOf(v, "linear_backward_input");
      return product && !this.isRead(v!, [end]) ? [product] : [];
    });
    const place = (node: Node) => this.nodes.indexOf(node);
    for (const product of candidates.sort((p, q) => place(q) - place(p))) {
      const addend = a === product.outputs[0] ? b : a;
      const [x, w, bias] = product.inputs;
      const inputs = product.op === "linear" ? [x, w, bias, addend] : [x, w, addend];
      const node = { ...end, op: `${product.op}_add`, inputs, attributes: product.attributes };
      if (this.replace([product], end, node)) return;
    }
  }

  /**
   * Returns the linear that produces a value, if its kernels have epilogues: its weight is not quantized, and it is not computed in int8.
   */
  private productOf(value: Value | undefined, op = "linear"): Node | undefined {
    const producer = value && this.producers.get(value);
    return producer?.op === op && isFloat(producer.inputs[1]!.dtype) && !producer.attributes.int8
      ? producer
      : undefined;
  }

  /** Whether an activation is the only reader of an f32 linear, and no other linear has the same input as that linear. */
  isOnlyReader(end: Node): boolean {
    const [before] = end.inputs;
    const x = this.productOf(before)?.inputs[0];
    return (
      before?.dtype === "f32" &&
      !!x &&
      this.readers.get(x)!.filter((n) => n.op === "linear").length === 1 &&
      !this.isRead(before, [end])
    );
  }

  /** Whether the program's results or any node except `by` read a value. */
  private isRead(value: Value, by: readonly Node[]): boolean {
    return this.results.has(value) || (this.readers.get(value) ?? []).some((node) => !by.includes(node));
  }

  /** Replaces `end` by `node` and removes `parts`, which run before it. Returns false if a node in between depends on the order. */
  private replace(parts: readonly Node[], end: Node, node: Node): boolean {
    const from = Math.min(...parts.map((n) => this.nodes.indexOf(n)));
    const to = this.nodes.indexOf(end);
    const between = this.nodes.slice(from, to).filter((n) => !parts.includes(n));
    const made = parts.flatMap((n) => n.outputs);
    const operands = parts.flatMap((n) => n.inputs);
    // The parts now run at the place of `end`. So no node before it may read their outputs or change their operands.
    if (between.some((n) => n.inputs.some((v) => v && (made.includes(v) || (n.effect && operands.includes(v))))))
      return false;
    this.nodes[to] = node;
    this.nodes = this.nodes.filter((n) => !parts.includes(n));
    for (const v of node.outputs) this.producers.set(v, node);
    const gone = new Set<Node>([...parts, end]);
    for (const v of new Set([...operands, ...end.inputs]))
      if (v)
        this.readers.set(v, [
          ...(this.readers.get(v) ?? []).filter((n) => !gone.has(n)),
          ...node.inputs.filter((i) => i === v).map(() => node),
        ]);
    return true;
  }
}
