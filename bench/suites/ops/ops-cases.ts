// The cases of the ops suite, each as a heddle program and as a request to torch.
import {
  attention,
  crossEntropy,
  type Device,
  gatherRows,
  gradients,
  type Inputs,
  input,
  linear,
  mul,
  type Results,
  sum,
  Tensor,
  tensor,
} from "../../../lib/graph/index.ts";
import { opRow } from "../../../lib/graph/op-table.ts";

type Dtype = "f32" | "bf16";
const ONE = Float32Array.of(1);
/** Short products run eight times per run. Otherwise a run's overhead would be 3 % of the time. */
const gemmsARun = (flops: number) => (flops > 5e9 ? 1 : 8);

/** A case to time: the program, its tensors and inputs, and the corresponding request to torch. */
export interface Case {
  name: string;
  dtype: Dtype;
  /** Operations of one call. */
  flops: number;
  /** Number of consecutive calls per run. 1 unless a call is short compared with a run's overhead. */
  calls?: number;
  tensors: Record<string, readonly [Dtype, readonly number[]]>;
  inputs: Inputs;
  build(): Results;
  torch: Record<string, unknown>;
  /** Bytes of the program's gradients, which torch's figure excludes too. Given if memory is compared. */
  gradientBytes?: number;
  /** Whether a run takes seconds, so that a few rounds suffice. */
  long?: boolean;
}

/**
 * Returns products in each layout that a linear layer needs. NT is the forward pass (x·Wᵀ), NN the gradient of the input (dy·W), and TN
 * the gradient of the weight (dyᵀ·x, always f32). Only one row of a result is read, so that no copy is timed.
 */
function gemms(): Case[] {
  const sizes = [
    [1024, 1024, 1024],
    [512, 1536, 576],
    [2048, 2048, 2048],
  ] as const;
  const cases: Case[] = [];
  for (const dtype of ["f32", "bf16"] as const)
    for (const [m, n, k] of sizes)
      for (const form of ["NT", "NN", "TN"] as const) {
        const shapes = {
          a: [dtype, form === "TN" ? [k, m] : [m, k]],
          b: [dtype, form === "NT" ? [n, k] : [k, n]],
        } as const;
        cases.push({
          name: `gemm ${dtype} ${m}x${n}x${k} ${form}`,
          dtype,
          flops: 2 * m * n * k,
          calls: gemmsARun(2 * m * n * k),
          tensors: { ...shapes, other: [dtype, [m, n]] },
          inputs: { row: Int32Array.of(0) },
          build() {
            const [a, b] = [tensor("a", ...shapes.a), tensor("b", ...shapes.b)];
            const row = input("row", "i32", [1]);
            const other = tensor("other", dtype, [m, n]);
            const product = () => {
              if (form === "NT") return linear(a, b);
              // A layer whose gradient is this product: `other` is its input, or its weight.
              const { source } = form === "NN" ? linear(other, b) : linear(b, other);
              if (source.kind !== "node") throw new Error("bench: expected a node");
              const [dx, dw] = opRow("linear").vjp!(source.node, [a], [true, true, false]);
              return form === "NN" ? dx! : dw!;
            };
            return Object.fromEntries(
              Array.from({ length: gemmsARun(2 * m * n * k) }, (_, i) => [`row${i}`, gatherRows(product(), row)]),
            );
          },
          torch: { kind: "gemm", dtype, form, m, n, k },
        });
      }
  return cases;
}

function attentions(): Case[] {
  const shapes = [
    { label: "B4 H8 T1024 D64", batch: 4, heads: 8, keyHeads: 8, tokens: 1024, width: 64 },
    { label: "B4 H8/2 T1024 D64", batch: 4, heads: 8, keyHeads: 2, tokens: 1024, width: 64 },
    { label: "B1 H2/1 T16384 D64", batch: 1, heads: 2, keyHeads: 1, tokens: 16384, width: 64 },
  ];
  return shapes.flatMap(({ label, ...shape }) =>
    (["f32", "bf16"] as const).flatMap((dtype) =>
      [false, true].map((backward): Case => {
        const { batch, heads, keyHeads, tokens, width } = shape;
        const [qs, ks] = [[batch * tokens, heads, width] as const, [batch * tokens, keyHeads, width] as const];
        return {
          name: `attention ${backward ? "forward+backward" : "forward"} ${dtype} ${label}`,
          dtype,
          // Causal attention computes half of the scores. The backward pass takes 2.5 times the operations of the forward pass.
          flops: 2 * batch * heads * tokens * tokens * width * (backward ? 3.5 : 1),
          tensors: { q: [dtype, qs], k: [dtype, ks], v: [dtype, ks], g: [dtype, qs] },
          inputs: backward ? { one: ONE } : {},
          build(): Results {
            const [q, k, v] = [tensor("q", dtype, qs), tensor("k", dtype, ks), tensor("v", dtype, ks)];
            const total = sum(mul(attention({ q, k, v }, { sequenceLength: tokens }), tensor("g", dtype, qs)));
            if (!backward) return { total };
            const [dq, dk, dv] = gradients(total, [q, k, v], input("one", "f32", [1]));
            return { total, dq: sum(dq!), dk: sum(dk!), dv: sum(dv!) };
          },
          torch: { kind: "attention", dtype, backward, ...shape },
          long: tokens > 4096,
        };
      }),
    ),
  );
}

/**
 * Returns cases from hidden states to the mean cross-entropy over a large vocabulary, forward and backward, with their memory. With all
 * logits in memory, the batch of 2048 tokens takes four times the memory of 512.
 */
function logprobs(): Case[] {
  const [width, vocab] = [576, 49152];
  const cases = [512, 2048].flatMap((rows) => (["f32", "bf16"] as const).map((dtype) => [rows, dtype] as const));
  return cases.map(([rows, dtype]) => ({
    name: `logprob forward+backward ${dtype} ${rows}x${width}x${vocab}`,
    dtype,
    flops: 6 * rows * width * vocab,
    tensors: { h: [dtype, [rows, width]], w: [dtype, [vocab, width]] },
    inputs: {
      one: ONE,
      targets: Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocab),
      weights: new Float32Array(rows).fill(1 / rows),
      row: Int32Array.of(0),
    },
    build() {
      const [h, w] = [tensor("h", dtype, [rows, width]), tensor("w", dtype, [vocab, width])];
      const loss = crossEntropy(h, w, input("targets", "i32", [rows]), input("weights", "f32", [rows]));
      const [dh, dw] = gradients(loss, [h, w], input("one", "f32", [1]));
      const row = input("row", "i32", [1]);
      return { loss, dh: gatherRows(dh!, row), dw: gatherRows(dw!, row) };
    },
    torch: { kind: "logprob", dtype, rows, width, vocab },
    gradientBytes: rows * width * (dtype === "f32" ? 4 : 2) + vocab * width * 4,
  }));
}

async function random(device: Device, dtype: Dtype, shape: readonly number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, dtype, shape);
  const values = Float32Array.from({ length: t.elements }, () => Math.random() * 2 - 1);
  await t.write(dtype === "f32" ? values : new Uint16Array(new Uint32Array(values.buffer).map((u) => u >>> 16)));
  return t;
}

export const opsCases = (): Case[] => [...gemms(), ...attentions(), ...logprobs()];

/** Returns a case's tensors, filled with random numbers. */
export async function operandsOf(c: Case, device: Device): Promise<Map<string, Tensor>> {
  const tensors = new Map<string, Tensor>();
  for (const [name, [dtype, shape]] of Object.entries(c.tensors)) tensors.set(name, await random(device, dtype, shape));
  return tensors;
}
