// Compares matrix products, attention and the log-probability op with PyTorch, interleaved in one run, and with the processor's measured
// peak. `npm run bench -- ops [--only TEXT] [--rounds N]`
import { compile, type Device } from "../../../lib/graph/index.ts";
import { Ceilings } from "../../ceilings.ts";
import { interleave, report, seconds, settle } from "../../measure.ts";
import { openTorch, type TorchPeer } from "../../peers/torch/torch.ts";
import { type Case, operandsOf, opsCases } from "./ops-cases.ts";
import { extraBytes } from "./ops-memory.ts";

export async function benchOps(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  const torch = peers ? await openTorch("torch_ops", device.threads) : undefined;
  report(
    torch
      ? { peer: torch.description }
      : { note: "PyTorch was not found (HEDDLE_BENCH_PYTHON): only heddle is measured" },
  );
  if (torch?.description.blas === "reference")
    report({ note: "torch's f32 products run on the reference BLAS: its f32 figures are no yardstick" });
  const ceilings = await Ceilings.open(device.threads);
  try {
    for (const c of opsCases())
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
  const tensors = await operandsOf(c, device);
  const program = compile(c.build);
  const executable = program.bind(device, tensors);
  const calls = c.calls ?? 1;
  const repeat = Math.max(1, Math.round(3e10 / c.flops / calls));
  const ourBytes = c.gradientBytes === undefined ? undefined : await extraBytes(c.name, device);
  let peaks: number[] = [];
  const lines: number[] = [];
  let theirBytes: number | undefined;
  const contenders = [
    {
      name: "heddle",
      run: async () => {
        const now = await ceilings?.measure();
        if (now) {
          peaks.push(now[c.dtype]);
          lines.push(now.lineNanoseconds);
        }
        await settle();
        await executable.run(c.inputs); // wakes this process's threads and refills the caches
        return (
          (await seconds(async () => {
            // Queue the runs back to back, as torch does. Awaiting each one would add 3 % to a short product.
            await Promise.all(Array.from({ length: repeat }, () => executable.run(c.inputs)));
          })) /
          (repeat * calls)
        );
      },
    },
  ];
  if (torch)
    contenders.push({
      name: "torch",
      run: async () => {
        await settle();
        const timing = await torch.time(c.torch, repeat * calls);
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
    ...(ceiling && {
      ceilingGflops: ceiling,
      ofCeiling: Number((rate(a!.median) / ceiling).toFixed(2)),
      lineNanoseconds: lines.sort((x, y) => x - y)[lines.length >> 1],
    }),
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
