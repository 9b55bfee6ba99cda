import { describe, expect, test } from "vitest";
import {
  accumulate,
  add,
  type FloatDType,
  gelu,
  glu,
  gradients,
  input,
  linear,
  mul,
  relu,
  sum,
  tensor,
  type Value,
} from "../../lib/graph/index.ts";
import { fuseEpilogues } from "../../lib/graph/passes/fuse-epilogues.ts";
import { record } from "../../lib/graph/trace.ts";

const [rows, width, inner] = [6, 16, 24];
const x = (dtype: FloatDType = "bf16") => tensor("x", dtype, [rows, width]);
const weight = (name: string) => tensor(name, "bf16", [inner, width]);
const back = (name = "d") => tensor(name, "bf16", [width, inner]);
const bias = (name: string) => tensor(name, "f32", [inner]);

/** Returns each node after fusion as its op and its numbers of operands and outputs. Expects nodes to read only earlier values. */
function fused(build: () => Value | readonly Value[]): string[] {
  const { trace, result } = record(build);
  const results = [result].flat() as Value[];
  const nodes = fuseEpilogues(trace.nodes, results);
  const made = new Set<Value>();
  for (const node of nodes) {
    for (const v of node.inputs)
      expect(v?.source.kind !== "node" || made.has(v), `${node.op} runs too early`).toBe(true);
    for (const v of node.outputs) made.add(v);
  }
  for (const v of results) expect(made.has(v), "a result is made").toBe(true);
  return nodes.map((n) => `${n.op} ${n.inputs.filter(Boolean).length} ${n.outputs.length}`);
}

describe("fusion of an activation into a matrix product", () => {
  test("applies to the matrix product that it reads", () => {
    expect(fused(() => gelu(linear(x(), weight("w"), bias("b"))))).toEqual(["linear_activation 3 1"]);
    expect(fused(() => relu(linear(x(), weight("w"))))).toEqual(["linear_activation 2 1"]);
  });
  test("keeps the pre-activation as an output for other readers", () => {
    expect(
      fused(() => {
        const z = linear(x(), weight("w"));
        return mul(gelu(z), z);
      }),
    ).toEqual(["linear_activation 2 2", "mul 2 1"]);
    expect(
      fused(() => {
        const z = linear(x(), weight("w"));
        return [gelu(z), z];
      }),
    ).toEqual(["linear_activation 2 2"]);
  });
  test("includes squared relu, unless relu has other readers", () => {
    const squared = () => {
      const r = relu(linear(x(), weight("w")));
      return { r, y: mul(r, r) };
    };
    expect(fused(() => squared().y)).toEqual(["linear_activation 2 1"]);
    expect(
      fused(() => {
        const { r, y } = squared();
        return add(r, y);
      }),
    ).toEqual(["linear_activation 2 1", "mul 2 1", "add 2 1"]);
  });
  test("does not apply if the product is read earlier or its weight is written in between", () => {
    expect(
      fused(() => {
        const z = linear(x(), weight("w"));
        const s = sum(z);
        return [gelu(z), s];
      }),
    ).toEqual(["linear 2 1", "sum 1 1", "gelu 1 1"]);
    expect(
      fused(() => {
        const w = tensor("w", "f32", [inner, width]);
        const z = linear(x("f32"), w);
        accumulate(w, w, tensor("keep", "f32", [1]));
        return gelu(z);
      }),
    ).toEqual(["linear 2 1", "accumulate 3 0", "gelu 1 1"]);
  });
  test("does not apply to quantized products", () => {
    const w = () => tensor("w", "q8_0", [inner, 32]);
    expect(fused(() => gelu(linear(tensor("x", "f32", [rows, 32]), w())))).toEqual(["linear 2 1", "gelu 1 1"]);
  });
});

describe("fusion of a gated activation", () => {
  test("combines two products of one operand", () => {
    expect(fused(() => glu(linear(x(), weight("g"), bias("b")), linear(x(), weight("u"))))).toEqual(["linear_glu 4 1"]);
  });
  test("keeps both products for their gradients", () => {
    const ops = fused(() => {
      const one = input("one", "f32", [1]);
      const w = { g: weight("g"), u: weight("u"), d: back() };
      const h = x();
      const y = linear(glu(linear(h, w.g), linear(h, w.u)), w.d);
      return gradients(sum(mul(y, y)), [h, w.g, w.u, w.d], one);
    });
    expect(ops[0]).toBe("linear_glu 3 3");
    // dx of the gate's product is accumulated into dx of the other.
    expect(ops.filter((op) => op.startsWith("linear_backward_input")).sort()).toEqual([
      "linear_backward_input 2 1",
      "linear_backward_input 2 1",
      "linear_backward_input_add 3 1",
    ]);
  });
  test("does not apply to different operands or attributes, or to one product used twice", () => {
    const other = () => tensor("other", "bf16", [rows, width]);
    expect(fused(() => glu(linear(x(), weight("g")), linear(other(), weight("u"))))).toHaveLength(3);
    expect(
      fused(() => glu(linear(x(), weight("g"), undefined, { rowwise: true }), linear(x(), weight("u")))),
    ).toHaveLength(3);
    const z = () => linear(x(), weight("g"));
    expect(
      fused(() => {
        const v = z();
        return glu(v, v);
      }),
    ).toHaveLength(2);
  });
});

describe("fusion of an addition into a matrix product", () => {
  const residual = () => tensor("r", "bf16", [rows, inner]);
  test("applies to a product without other readers", () => {
    expect(fused(() => add(linear(x(), weight("w")), residual()))).toEqual(["linear_add 3 1"]);
    expect(fused(() => add(residual(), linear(x(), weight("w"), bias("b"))))).toEqual(["linear_add 4 1"]);
    expect(
      fused(() => {
        const z = linear(x(), weight("w"));
        return mul(add(z, residual()), z);
      }),
    ).toEqual(["linear 2 1", "add 2 1", "mul 2 1"]);
  });
  test("applies to the later product if both operands are products", () => {
    expect(fused(() => add(linear(x(), weight("w")), linear(x(), weight("v"))))).toEqual([
      "linear 2 1",
      "linear_add 3 1",
    ]);
  });
  test("applies to chained sums", () => {
    const product = (name: string) => linear(x(), weight(name));
    expect(fused(() => add(product("c"), add(product("a"), product("b"))))).toEqual([
      "linear 2 1",
      "linear_add 3 1",
      "linear_add 3 1",
    ]);
  });
});
