// Matrix products and attention against PyTorch, interleaved in one run. `npm run bench -- ops [--rounds N]`
import {
  attention,
  compile,
  type Device,
  gradients,
  input,
  linear,
  mul,
  sum,
  Tensor,
  tensor,
  type Value,
} from "../lib/graph/index.ts";
import { interleave, report, seconds } from "./measure.ts";
import { openTorch } from "./peers/torch.ts";

type Dtype = "f32" | "bf16";
const ONE = Float32Array.of(1);

const GEMMS = [
  { m: 1024, n: 1024, k: 1024 },
  { m: 512, n: 1536, k: 576 },
  { m: 2048, n: 2048, k: 2048 },
];
const ATTENTION = { batch: 4, heads: 8, tokens: 1024, width: 64 };

async function random(device: Device, dtype: Dtype, shape: number[]): Promise<Tensor> {
  const t = Tensor.zeros(device, dtype, shape);
  const values = Float32Array.from({ length: t.elements }, () => Math.random() * 2 - 1);
  await t.write(dtype === "f32" ? values : new Uint16Array(new Uint32Array(values.buffer).map((u) => u >>> 16)));
  return t;
}

/** y = x·Wᵀ, (m, k) by (n, k). The result is reduced to one number, so that no copy of it is timed. */
async function gemm(device: Device, dtype: Dtype, { m, n, k }: (typeof GEMMS)[number]) {
  const tensors = new Map([
    ["x", await random(device, dtype, [m, k])],
    ["w", await random(device, dtype, [n, k])],
  ]);
  const program = compile(() => {
    const y = linear(tensor("x", dtype, [m, k]), tensor("w", dtype, [n, k]));
    return { total: sum(y) };
  });
  return program.bind(device, tensors);
}

async function attentionRun(device: Device, dtype: Dtype, backward: boolean) {
  const { batch, heads, tokens, width } = ATTENTION;
  const shape = [batch * tokens, heads, width];
  const names = ["q", "k", "v"] as const;
  const tensors = new Map<string, Tensor>();
  for (const name of [...names, "g"]) tensors.set(name, await random(device, dtype, shape));
  const program = compile((): Record<string, Value> => {
    const [q, k, v] = names.map((name) => tensor(name, dtype, shape));
    const o = attention({ q: q!, k: k!, v: v! }, { sequenceLength: tokens });
    const total = sum(mul(o, tensor("g", dtype, shape)));
    if (!backward) return { total };
    const [dq, dk, dv] = gradients(total, [q!, k!, v!], input("one", "f32", [1]));
    return { total, a: sum(dq!), b: sum(dk!), c: sum(dv!) };
  });
  const executable = program.bind(device, tensors);
  return () => executable.run(backward ? { one: ONE } : {});
}

export async function benchOps(device: Device, { rounds = 7, peers = true } = {}): Promise<void> {
  const torch = peers ? await openTorch(device.threads) : undefined;
  if (!torch) report({ note: "PyTorch is not there: heddle alone" });
  try {
    for (const dtype of ["f32", "bf16"] as const) {
      for (const size of GEMMS) {
        const flops = 2 * size.m * size.n * size.k;
        const executable = await gemm(device, dtype, size);
        const repeat = Math.max(1, Math.round(2e10 / flops));
        const ours = () =>
          seconds(async () => {
            for (let i = 0; i < repeat; i++) await executable.run({});
          });
        await compare(
          `gemm ${dtype} ${size.m}x${size.n}x${size.k}`,
          async () => (await ours()) / repeat,
          torch && (() => torch.time({ kind: "gemm", dtype, ...size }, repeat)),
          flops,
          rounds,
        );
        executable.dispose();
      }
    }
    for (const dtype of ["f32", "bf16"] as const)
      for (const backward of [false, true]) {
        // Causal: half of the scores; backward does 2.5 times the forward's products.
        const { batch, heads, tokens, width } = ATTENTION;
        const flops = 2 * batch * heads * tokens * tokens * width * (backward ? 3.5 : 1);
        const run = await attentionRun(device, dtype, backward);
        const name = `attention ${backward ? "forward+backward" : "forward"} ${dtype} B${batch} H${heads} T${tokens} D${width}`;
        await compare(
          name,
          () => seconds(run),
          torch && (() => torch.time({ kind: "attention", dtype, backward, ...ATTENTION }, 1)),
          flops,
          rounds,
        );
      }
  } finally {
    torch?.close();
  }
}

async function compare(
  name: string,
  ours: () => Promise<number>,
  theirs: (() => Promise<number>) | undefined,
  flops: number,
  rounds: number,
): Promise<void> {
  const contenders = [{ name: "heddle", run: ours }, ...(theirs ? [{ name: "torch", run: theirs }] : [])];
  const [a, b] = await interleave(contenders, rounds);
  const gflops = (s: number) => Math.round(flops / s / 1e8) / 10;
  report({
    name,
    heddle: { milliseconds: a!.median * 1e3, gflops: gflops(a!.median) },
    ...(b && {
      torch: { milliseconds: b.median * 1e3, gflops: gflops(b.median) },
      ratio: Math.round((b.median / a!.median) * 100) / 100,
    }),
  });
}
