// Matrix products, attention and the log-probability op against PyTorch, interleaved in one run, with what the processor
// could do at most measured beside them. `npm run bench -- ops [--only TEXT] [--rounds N]`
import {
  attention,
  compile,
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
} from "../lib/graph/index.ts";
import { opRow } from "../lib/graph/op-table.ts";
import { Ceilings } from "./ceilings.ts";
import { interleave, peakResident, report, seconds, settle } from "./measure.ts";
import { openTorch, type TorchPeer } from "./peers/torch.ts";

type Dtype = "f32" | "bf16";
const ONE = Float32Array.of(1);

/** A thing to time: the program, the tensors and inputs that it needs, and how torch is asked for the same. */
interface Case {
  name: string;
  dtype: Dtype;
  flops: number;
  tensors: Record<string, readonly [Dtype, readonly number[]]>;
  inputs: Inputs;
  build(): Results;
  torch: Record<string, unknown>;
  /** Bytes of the program's gradients, which torch's figure leaves out too; given where memory is compared. */
  gradientBytes?: number;
  /** Takes seconds: a few rounds suffice. */
  long?: boolean;
}

/**
 * A product in each form that a linear layer needs: NT is its forward pass (x·Wᵀ), NN the gradient of its input (dy·W),
 * TN that of its weight (dyᵀ·x, f32 whatever the operands). Of the result one row is looked at, so that no copy is timed.
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
          tensors: { ...shapes, other: [dtype, [m, n]] },
          inputs: { row: Int32Array.of(0) },
          build() {
            const [a, b] = [tensor("a", ...shapes.a), tensor("b", ...shapes.b)];
            const row = input("row", "i32", [1]);
            if (form === "NT") return { row: gatherRows(linear(a, b), row) };
            // A layer whose gradient is this product: `other` is its input, or its weight.
            const other = tensor("other", dtype, [m, n]);
            const y = form === "NN" ? linear(other, b) : linear(b, other);
            const { source } = y;
            if (source.kind !== "node") throw new Error("bench: expected a node");
            const [dx, dw] = opRow("linear").vjp!(source.node, [a], [true, true, false]);
            return { row: gatherRows(form === "NN" ? dx! : dw!, row) };
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
          // Causal: half of the scores; backward does 2.5 times the forward's products.
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

/** Hidden states to the mean cross-entropy over a large vocabulary, forward and backward, with the memory it takes. */
function logprobs(): Case[] {
  const [rows, width, vocab] = [512, 576, 49152];
  return (["f32", "bf16"] as const).map((dtype) => ({
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

export async function benchOps(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  const torch = peers ? await openTorch("torch_ops", device.threads) : undefined;
  report(torch ? { peer: torch.description } : { note: "PyTorch is not there: heddle alone" });
  if (torch?.description.blas === "reference")
    report({ note: "torch's f32 products run on the reference BLAS: its f32 figures are no yardstick" });
  const ceilings = await Ceilings.open(device.threads);
  try {
    for (const c of [...gemms(), ...attentions(), ...logprobs()])
      if (c.name.includes(only)) await compare(device, c, torch, ceilings, c.long ? Math.min(rounds, 3) : rounds);
  } finally {
    torch?.close();
    ceilings?.close();
  }
}

async function compare(
  device: Device,
  c: Case,
  torch: TorchPeer | undefined,
  ceilings: Ceilings | undefined,
  rounds: number,
): Promise<void> {
  const tensors = new Map<string, Tensor>();
  for (const [name, [dtype, shape]] of Object.entries(c.tensors)) tensors.set(name, await random(device, dtype, shape));
  const program = compile(c.build);
  const executable = program.bind(device, tensors);
  const repeat = Math.max(1, Math.round(3e10 / c.flops));
  let ourBytes: number | undefined;
  if (c.gradientBytes !== undefined) {
    // The first run touches the arena and the scratch; beyond the gradients, that is what the op needs.
    const before = process.memoryUsage.rss();
    const peak = await peakResident(() => executable.run(c.inputs));
    ourBytes = peak && peak - before - c.gradientBytes;
  }
  let peaks: number[] = [];
  let theirBytes: number | undefined;
  const contenders = [
    {
      name: "heddle",
      run: async () => {
        if (ceilings) peaks.push((await ceilings.measure())[c.dtype]);
        await settle();
        await executable.run(c.inputs); // threads and caches are this process's again
        return (
          (await seconds(async () => {
            for (let i = 0; i < repeat; i++) await executable.run(c.inputs);
          })) / repeat
        );
      },
    },
  ];
  if (torch)
    contenders.push({
      name: "torch",
      run: async () => {
        await settle();
        const timing = await torch.time(c.torch, repeat);
        theirBytes = timing.extraBytes;
        return timing.seconds;
      },
    });
  const [a, b] = await interleave(contenders, rounds);
  peaks = peaks.sort((x, y) => x - y);
  const ceiling = peaks[peaks.length >> 1];
  const rate = (s: number) => Math.round(c.flops / s / 1e8) / 10;
  const figures = ({ median, best }: { median: number; best: number }) => ({
    milliseconds: Number((median * 1e3).toFixed(3)),
    gflops: rate(median),
    bestGflops: rate(best),
  });
  report({
    name: c.name,
    ...(ceiling && { ceilingGflops: ceiling, ofCeiling: Number((rate(a!.median) / ceiling).toFixed(2)) }),
    heddle: { ...figures(a!), ...(ourBytes !== undefined && { extraMB: Math.round(ourBytes / 1e6) }) },
    ...(b && {
      torch: { ...figures(b), ...(theirBytes !== undefined && { extraMB: Math.round(theirBytes / 1e6) }) },
      ratio: Number((b.median / a!.median).toFixed(2)),
      bestRatio: Number((b.best / a!.best).toFixed(2)),
    }),
  });
  executable.dispose();
  for (const t of tensors.values()) t.dispose();
}
