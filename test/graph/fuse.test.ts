import { describe, expect, test } from "vitest";
import {
  add,
  compile,
  crossEntropy,
  embedding,
  gradients,
  input,
  mul,
  openDevice,
  scale,
  sum,
  Tensor,
  tensor,
  tokenLogprob,
  type Value,
} from "../../lib/graph/index.ts";
import { fuse } from "../../lib/graph/passes/fuse.ts";
import { record } from "../../lib/graph/trace.ts";
import { generator } from "../ops/harness.ts";

const [rows, width, vocabulary] = [5, 8, 11];
const operands = () => ({
  h: tensor("h", "f32", [rows, width]),
  w: tensor("w", "f32", [vocabulary, width]),
  targets: input("targets", "i32", [rows]),
  weights: input("weights", "f32", [rows]),
  one: input("one", "f32", [1]),
});

/** Ops of a loss and its gradient, as passed to the runtime. */
function opsOf(loss: (o: ReturnType<typeof operands>) => Value): string[] {
  const { trace } = record(() => {
    const o = operands();
    return gradients(loss(o), [o.h, o.w], o.one);
  });
  const nodes = fuse(trace.nodes);
  const made = new Set<Value>();
  for (const node of nodes) {
    for (const v of node.inputs)
      expect(v?.source.kind !== "node" || made.has(v), `${node.op} runs too early`).toBe(true);
    for (const v of node.outputs) made.add(v);
  }
  return nodes.map((n) => n.op);
}

describe("the gradient of an embedding", () => {
  const ids = () => input("ids", "i32", [rows]);
  const scatters = (loss: (w: Value) => Value) => {
    const { trace } = record(() => {
      const w = tensor("w", "f32", [vocabulary, width]);
      return gradients(loss(w), [w], input("one", "f32", [1]));
    });
    return fuse(trace.nodes).filter((n) => n.op === "embedding_backward");
  };
  const squared = (v: Value) => sum(mul(v, v));

  test("is scattered into another gradient of its table", () => {
    const one = scatters((w) => add(squared(embedding(w, ids())), squared(w)));
    expect(one.map((n) => n.inputs.length)).toEqual([3]);
    const chain = scatters((w) => add(squared(embedding(w, ids())), squared(embedding(w, ids()))));
    expect(chain.map((n) => n.inputs.length)).toEqual([2, 3]);
  });

  test("stays a separate table if it is a result or the only gradient", () => {
    expect(scatters((w) => squared(embedding(w, ids()))).map((n) => n.inputs.length)).toEqual([2]);
    const { trace, result } = record(() => {
      const w = tensor("w", "f32", [vocabulary, width]);
      const [dw] = gradients(squared(embedding(w, ids())), [w], input("one", "f32", [1]));
      return { dw: dw!, more: add(dw!, w) };
    });
    const scatter = fuse(trace.nodes, Object.values(result)).find((n) => n.op === "embedding_backward");
    expect(scatter!.inputs).toHaveLength(2);
  });
});

describe("fusion of log-probabilities with their gradient", () => {
  test("gives one node for cross-entropy", () => {
    const ops = opsOf(({ h, w, targets, weights }) => crossEntropy(h, w, targets, weights));
    expect(ops.filter((op) => op.startsWith("token_logprob"))).toEqual(["token_logprob_with_gradient"]);
  });

  test("does not apply if the gradient depends on the log-probabilities", () => {
    const squared = opsOf(({ h, w, targets }) => {
      const { logprob } = tokenLogprob(h, w, targets);
      return sum(mul(logprob, logprob));
    });
    const withZLoss = opsOf(({ h, w, targets, weights }) => crossEntropy(h, w, targets, weights, { zLoss: 1e-4 }));
    for (const ops of [squared, withZLoss])
      expect(ops.filter((op) => op.startsWith("token_logprob"))).toEqual(["token_logprob", "token_logprob_backward"]);
  });

  test("applies to both of two added losses, but to only one of two multiplied losses", () => {
    const both = ({ h, w, targets, weights }: ReturnType<typeof operands>) =>
      [crossEntropy(h, w, targets, weights), crossEntropy(scale(h, 2), w, targets, weights)] as const;
    const added = opsOf((o) => add(...both(o)));
    expect(added.filter((op) => op === "token_logprob_with_gradient")).toHaveLength(2);
    const ops = opsOf((o) => sum(mul(...both(o)))).filter((op) => op.startsWith("token_logprob"));
    expect(ops.sort()).toEqual(["token_logprob", "token_logprob_backward", "token_logprob_with_gradient"]);
  });

  test("does not change the values", async () => {
    const random = generator(5);
    const device = openDevice();
    const values = (n: number) => Float32Array.from({ length: n }, () => random() - 0.5);
    const tensors = new Map([
      ["h", await Tensor.from(device, "f32", [rows, width], values(rows * width))],
      ["w", await Tensor.from(device, "f32", [vocabulary, width], values(vocabulary * width))],
    ]);
    const inputs = {
      targets: Int32Array.of(3, -100, 0, 10, 3),
      weights: Float32Array.of(0.25, 0, 0.5, 0.125, 1),
      one: Float32Array.of(1),
    };
    // Adding zero times the square of `logprob` keeps the loss, but its gradient then depends on `logprob`, which prevents the fusion.
    const run = (apart: boolean) => {
      const program = compile(() => {
        const { h, w, targets, weights, one } = operands();
        const { logprob } = tokenLogprob(h, w, targets);
        const zero = scale(mul(logprob, logprob), 0);
        const loss = scale(sum(mul(apart ? add(logprob, zero) : logprob, weights)), -1);
        const [dh, dw] = gradients(loss, [h, w], one);
        return { loss, dh: dh!, dw: dw! };
      });
      return program.bind(device, tensors).run(inputs);
    };
    const [fused, apart] = [await run(false), await run(true)];
    for (const name of ["loss", "dh", "dw"] as const)
      for (const [i, v] of Array.from(fused[name]).entries()) expect(v).toBeCloseTo(Number(apart[name][i]), 6);
  });
});
