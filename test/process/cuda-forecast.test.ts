// scripts/cuda-forecast.mjs: the decoder of machine code, the search for loops and paths, and the arithmetic of the model.
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

interface Instruction {
  address: number;
  name: string;
  conditional: boolean;
  width: number;
  stall: number;
  sets: number;
  reads: number;
  waits: number;
  open: number;
  targets: number[];
  barrier: number;
  isOff?: boolean;
}
interface Segment {
  code: Instruction[];
  times: number;
  isLoop: boolean;
}
interface Prediction {
  total: number;
  bound: string;
  seconds: Record<string, number>;
  instructions: Record<string, number>;
  waves: number;
}
interface Kernel {
  code: Instruction[];
  registers: number;
  shared: number;
  threads: number;
}
interface Card {
  multiprocessors: number;
  clock: number;
  loaded: number;
  dram: number;
  attainable: number;
  tensor: number;
}
const scripts = new URL("../../scripts/", import.meta.url);
const script = async (name: string) => await import(new URL(name, scripts).href);
const { decode, readCubin } = (await script("cuda/sass.mjs")) as {
  decode: (code: Buffer, capability: number) => Instruction[];
  readCubin: (path: string) => { capability: number; kernels: Map<string, Kernel> };
};
const { blocksOf, loopsOf } = (await script("cuda/loops.mjs")) as {
  blocksOf: (code: Instruction[]) => { first: number; last: number; next: number[] }[];
  loopsOf: (blocks: object[]) => { head: number; blocks: Set<number>; parent: number }[];
};
const { clocksOf, countKinds, segmentsOf } = (await script("cuda/trace.mjs")) as {
  clocksOf: (segment: Segment, latency: (i: Instruction) => number, product?: number) => number;
  countKinds: (segments: Segment[]) => Record<string, number>;
  segmentsOf: (code: Instruction[], work: object) => Segment[];
};
const { occupancyOf, predict } = (await script("cuda/model.mjs")) as {
  occupancyOf: (card: Card, block: object) => { blocks: number; limit: string };
  predict: (card: Card, launch: object) => Prediction;
};
const { cards } = (await script("cuda/cards.mjs")) as { cards: Record<"h100" | "a100" | "rtx4090" | "b200", Card> };
const { benchValue, cardOf, compare } = (await script("cuda/forecast.mjs")) as {
  benchValue: (result: { unit: string; value: number }) => number;
  cardOf: (gpu: string) => string | undefined;
  compare: (results: object[], measured: object[]) => { title: string; ratio: number }[];
};

async function committed(name: string, capability: number): Promise<Instruction[]> {
  const text = await readFile(new URL(`sass/${name}.txt`, import.meta.url), "utf8");
  const words = text.split("\n").filter((line) => /^[0-9a-f]{16} /.test(line));
  const code = Buffer.alloc(words.length * 16);
  for (const [n, line] of words.entries())
    for (const [half, word] of line.split(" ").entries()) code.writeBigUInt64LE(BigInt(`0x${word}`), n * 16 + half * 8);
  return decode(code, capability);
}

/** Returns code in which "BRA 3" jumps to instruction 3, and "@BRA 3" may do so. */
function assembled(lines: string[]): Instruction[] {
  return lines.map((line, n) => {
    const [word, target] = line.split(" ");
    const [name, width] = word!.replace("@", "").split(".");
    return {
      ...{ address: n * 16, name: name!, conditional: line.startsWith("@"), width: Number(width ?? 32), stall: 1 },
      ...{ sets: -1, reads: -1, waits: 0, open: -1, barrier: -1 },
      targets: target === undefined ? [] : [Number(target) * 16],
    };
  });
}
const timesOf = (segments: Segment[], name: string) =>
  segments.reduce((sum, s) => sum + s.times * s.code.filter((i) => i.name === name && !i.isOff).length, 0);

test.each([
  ["add-sm_90a", 90],
  ["add-sm_80", 80],
])("decodes opcodes, widths and branches of the committed kernel %s", async (name, capability) => {
  const code = await committed(name, capability);
  const count = (wanted: string, width: number) => code.filter((i) => i.name === wanted && i.width === width).length;
  expect(code.filter((i) => i.name.startsWith("?"))).toEqual([]);
  expect([count("LDG", 128), count("STG", 128)]).toEqual([6, 3]);
  expect(code.filter((i) => i.name === "FADD").length).toBeGreaterThanOrEqual(9);
  for (const { name: own, targets } of code)
    if (own === "BRA") expect(targets[0]! >= 0 && targets[0]! < code.length * 16 && targets[0]! % 16 === 0).toBe(true);
  // A jump to itself follows the end of each kernel.
  expect(code.some((i) => i.name === "BRA" && i.targets[0] === i.address)).toBe(true);
});

test.each([
  ["add-sm_90a", 90],
  ["add-sm_80", 80],
])("finds the loops of %s, and the path that adds vectors of bf16", async (name, capability) => {
  const code = await committed(name, capability);
  const loops = loopsOf(blocksOf(code)).filter(({ blocks }) => blocks.size > 1);
  expect(loops.map(({ parent }) => parent)).toEqual([-1, -1]);
  const path = { "LDG.128": 2, "STG.128": 1, "LDG.32": 0, "LDG.16": 0 };
  const segments = segmentsOf(code, { path, totals: { "LDG.128": 20 } });
  expect([timesOf(segments, "LDG"), timesOf(segments, "STG")]).toEqual([20, 10]);
  expect(timesOf(segments, "FADD")).toBe(80); // eight elements for each of ten iterations
});

test("assigns all iterations to the loop with most of the counted instructions, and none to the remainder loop of unrolling", () => {
  const code = assembled([
    ...["MOV", "FFMA", "FFMA", "FFMA", "FFMA", "@BRA 1"], // unrolled four times
    ...["MOV", "FFMA", "@BRA 7"], // the remainder
    "EXIT",
  ]);
  const segments = segmentsOf(code, { totals: { FFMA: 100 } });
  expect(segments.map(({ times }) => times)).toEqual([1, 25]);
  expect(countKinds(segments)).toEqual({ alu: 2, control: 26, fma: 100 });
});

test("subtracts peeled iterations, and runs an outer loop the given number of times", () => {
  const code = assembled(["FFMA", "FFMA", "@BRA 1", "MUFU", "@BRA 0", "EXIT"]);
  const [outer, inner] = loopsOf(blocksOf(code));
  expect([outer!.parent, inner!.parent]).toEqual([-1, 0]);
  const segments = segmentsOf(code, { totals: { FFMA: 40 }, outer: 4 });
  expect([timesOf(segments, "FFMA"), timesOf(segments, "MUFU")]).toEqual([40, 4]);
});

test("takes the cheapest path that has the wanted instructions", () => {
  // Branches to a scalar path with two loads, or to a longer one with a vector load.
  const code = assembled([
    ...["@BRA 4", "LDG.32", "LDG.32", "BRA 9"],
    ...["LDG.128", "MOV", "MOV", "MOV", "MOV"],
    "EXIT",
  ]);
  const vectors = segmentsOf(code, { path: { "LDG.128": 1, "LDG.32": 0 } });
  expect(vectors[0]!.code.map(({ name, width }) => `${name}.${width}`)).toContain("LDG.128");
  expect(timesOf(vectors, "LDG")).toBe(1);
});

test("a conditional call is a jump, and an unconditional one returns", () => {
  expect(blocksOf(assembled(["@CALL 2", "EXIT", "EXIT"]))[0]!.next).toEqual([2, 1]);
  expect(blocksOf(assembled(["CALL 3", "MOV", "EXIT", "EXIT"]))[0]).toEqual({ first: 0, last: 2, next: [] });
});

test("a warp's clocks are its stalls, and waits for scoreboards", () => {
  const [load, use] = assembled(["LDG", "FADD"]);
  const code = [
    { ...load!, stall: 2, sets: 0 },
    { ...use!, stall: 4, waits: 1 },
  ];
  const latency = () => 500;
  expect(clocksOf({ code, times: 1, isLoop: false }, latency)).toBe(504);
  expect(clocksOf({ code, times: 1, isLoop: true }, latency)).toBe(504);
  const prefetched = [code[1]!, code[0]!]; // waits for the load of the previous iteration
  expect(clocksOf({ code: prefetched, times: 1, isLoop: true }, latency)).toBe(504);
  const independent = [code[0]!, { ...code[1]!, waits: 0 }];
  expect(clocksOf({ code: independent, times: 1, isLoop: true }, latency)).toBe(6);
});

test("a warp waits for its groups of asynchronous products", () => {
  const code = assembled(["WARPGROUP", "HGMMA", "HGMMA", "WARPGROUP", "HGMMA", "WARPGROUP", "FADD"]);
  const waiting = (open: number) =>
    clocksOf({ code: code.with(5, { ...code[5]!, open }), times: 1, isLoop: false }, () => 0, 100);
  expect([waiting(1), waiting(0)]).toEqual([203, 303]);
});

test("occupancy follows from registers, shared memory and threads", () => {
  expect(occupancyOf(cards.h100, { registers: 168, threads: 384, shared: 1024 })).toMatchObject({
    blocks: 1,
    limit: "registers",
  });
  expect(occupancyOf(cards.h100, { registers: 32, threads: 256, shared: 0 })).toMatchObject({ blocks: 8 });
  expect(occupancyOf(cards.rtx4090, { registers: 32, threads: 256, shared: 0 })).toMatchObject({ blocks: 6 });
  expect(occupancyOf(cards.a100, { registers: 32, threads: 128, shared: 80 << 10 })).toMatchObject({
    blocks: 2,
    limit: "shared memory",
  });
});

test("a launch takes the time of its busiest unit, and of the launch itself", () => {
  const card = cards.h100;
  const block = { registers: 32, threads: 256, shared: 0 };
  const segments = segmentsOf(assembled(["LDG.128", "EXIT"]), {});
  const copied = predict(card, { blocks: 1e5, block, roles: [{ warps: 8, segments }], dram: 3e9 });
  expect(copied.total).toBeCloseTo(3e9 / (card.dram * card.attainable) + 2e-6, 9);
  expect(copied.bound).toBe("DRAM");
  expect(copied.instructions).toEqual({ global: 8e5, control: 8e5 });

  const products = segmentsOf(assembled(["HGMMA", "@BRA 0", "EXIT"]), { totals: { HGMMA: 1000 } });
  const tensor = 1e10;
  const role = { warps: 8, segments: products, mark: "HGMMA", tensor };
  const multiplied = predict(card, {
    blocks: 2 * card.multiprocessors,
    block: { ...block, registers: 255 },
    roles: [role],
    dram: 0,
  });
  // One block fits into a multiprocessor, so there are two waves.
  expect(multiplied.waves).toBe(2);
  expect(multiplied.total).toBeCloseTo((2 * tensor) / card.tensor / (card.clock * card.loaded) + 2e-6, 5);
  expect(multiplied.bound).toBe("tensor");
});

test("mma.sync takes the number of clocks that follows from the card's rate", () => {
  const code = assembled(["HMMA", "@BRA 0", "EXIT"]);
  const roles = [{ warps: 8, mark: "HMMA", segments: segmentsOf(code, { totals: { HMMA: 1e4 } }) }];
  const launch = { blocks: 1, block: { registers: 255, threads: 256, shared: 0 }, roles, dram: 0 };
  const clocks = (card: Card) =>
    predict(card, launch).seconds.tensor! * card.clock * card.loaded * card.multiprocessors;
  expect(clocks(cards.b200)).toBeCloseTo(8e4 * (4096 / 2048), 0);
  expect(clocks(cards.a100)).toBeCloseTo(8e4 * (4096 / 2048), 0);
});

test("mma.sync of 8-bit integers takes half the clocks of bf16, or a quarter on cards of the RTX series", () => {
  const clocks = (card: Card, name: string) => {
    const segments = segmentsOf(assembled([name, "@BRA 0", "EXIT"]), { totals: { [name]: 1e4 } });
    const roles = [{ warps: 8, mark: name, segments }];
    const launch = { blocks: 1, block: { registers: 255, threads: 256, shared: 0 }, roles, dram: 0 };
    return predict(card, launch).seconds.tensor!;
  };
  expect(clocks(cards.a100, "HMMA") / clocks(cards.a100, "IMMA")).toBeCloseTo(2, 9);
  expect(clocks(cards.rtx4090, "HMMA") / clocks(cards.rtx4090, "IMMA")).toBeCloseTo(4, 9);
});

test("reads the widths of cp.async in code of compute capability 8.0 and 10.0", () => {
  const widthOf = (high: bigint, capability: number) => {
    const code = Buffer.alloc(16);
    code.writeBigUInt64LE(0x04077faen, 0);
    code.writeBigUInt64LE(high, 8);
    return decode(code, capability)[0]!.width;
  };
  expect([0x000fe8000b921844n, 0x000fe8000b921a44n, 0x000fe8000b901c44n].map((high) => widthOf(high, 80))).toEqual([
    32, 64, 128,
  ]);
  expect([0x010fe8000b9a1006n, 0x010fe8000b9a1406n, 0x010fe8000b981806n].map((high) => widthOf(high, 100))).toEqual([
    32, 64, 128,
  ]);
});

test("a last wave of few blocks takes as long as a full one if each block has a multiprocessor to itself", () => {
  const roles = [{ warps: 8, segments: segmentsOf(assembled(["FFMA", "@BRA 0", "EXIT"]), { totals: { FFMA: 1e6 } }) }];
  const block = { registers: 255, threads: 256, shared: 0 };
  const of = (blocks: number) => predict(cards.h100, { blocks, block, roles, dram: 0 }).total - 2e-6;
  expect(of(133)).toBeCloseTo(2 * of(132), 9);
  expect(of(264)).toBeCloseTo(of(133), 9);
});

test("compares measured results with the forecast in one unit", () => {
  const results = [{ title: "product", bench: ["gemm bf16 8x8x8 NT"], unit: "TFLOP/s", value: 500 }];
  const measured = [
    { name: "gemm bf16 8x8x8 NT", unit: "GFLOP/s", value: 400_000 },
    { name: "gemm bf16 8x8x8 NN", unit: "GFLOP/s", value: 1 },
  ];
  expect(compare(results, measured)).toEqual([
    { title: "product", name: "gemm bf16 8x8x8 NT", unit: "TFLOP/s", measured: 400, forecast: 500, ratio: 0.8 },
  ]);
  expect(benchValue({ unit: "TFLOP/s", value: 0.5 })).toBe(500);
  expect(benchValue({ unit: "TB/s", value: 2 })).toBe(2000);
  expect(benchValue({ unit: "tokens/s", value: 1915 })).toBe(1915);
  expect(cardOf("NVIDIA H100 80GB HBM3")).toBe("h100");
  expect(cardOf("NVIDIA H100 PCIe")).toBeUndefined();
  expect(["NVIDIA H200", "NVIDIA H200 NVL", "NVIDIA GH200 480GB"].map(cardOf)).toEqual(["h200", undefined, undefined]);
  expect(cardOf("NVIDIA H100 80GB HBM3 MIG 1g.10gb")).toBeUndefined();
  expect([cardOf("NVIDIA B200"), cardOf("NVIDIA GB200")]).toEqual(["b200", undefined]);
  expect([cardOf("NVIDIA GeForce RTX 5090"), cardOf("NVIDIA GeForce RTX 5090 D")]).toEqual(["rtx5090", undefined]);
});

test("rejects an unknown card", () => {
  const path = fileURLToPath(new URL("cuda-forecast.mjs", scripts));
  const { status, stderr } = spawnSync(process.execPath, [path, "--card", "h1000"], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toBe("cuda-forecast: expected --card of h100, a100, rtx4090, b200, rtx5090, h200, got h1000\n");
});

const nvcc = spawnSync("nvcc", ["--version"], { stdio: "ignore" }).status === 0;
if (!nvcc) console.warn("facts of a compiled cubin: skipped, nvcc is not on PATH");

test.skipIf(!nvcc)("reads registers, shared memory and launch bounds from a cubin", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-forecast-"));
  try {
    const [source, cubin] = [join(folder, "k.cu"), join(folder, "k.cubin")];
    await writeFile(
      source,
      `extern "C" __global__ void __launch_bounds__(96) k(float* to, int n) {
         __shared__ float s[96];
         s[threadIdx.x] = to[threadIdx.x];
         __syncthreads();
         float sum = 0;
         #pragma unroll 1
         for (int i = 0; i < n; ++i) sum += s[(threadIdx.x + i) % 96];
         to[threadIdx.x] = sum;
       }\n`,
    );
    const target = ["-gencode", "arch=compute_80,code=sm_80"];
    const built = spawnSync("nvcc", ["-cubin", ...target, "-Xptxas=-v", "-o", cubin, source], { encoding: "utf8" });
    const registers = Number(/Used (\d+) registers/.exec(built.stderr)![1]);
    const { capability, kernels } = readCubin(cubin);
    expect(capability).toBe(80);
    expect(kernels.get("k")).toMatchObject({ registers, shared: 384, threads: 96 });
    const segments = segmentsOf(kernels.get("k")!.code, { totals: { LDS: 50 } });
    expect(timesOf(segments, "LDS")).toBe(50);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the kernels of a forecast are compiled in parallel, once, and an error names the source", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-forecast-"));
  const nvcc = join(folder, "nvcc");
  // Two calls wait for each other, so that they end only if they run in parallel.
  await writeFile(
    nvcc,
    `#!/bin/bash
[ "$1" != --version ] || { echo "a fake nvcc in ${folder}"; exit; }
source="\${@: -1}"
case $source in *norm.cu) echo "norm is broken" >&2; exit 1 ;; esac
while [ "$1" != -o ]; do shift; done
basename "$source" >>${folder}/calls
for _ in {1..400}; do [ "$(wc -l <${folder}/calls)" -lt 2 ] || break; sleep 0.05; done
[ "$(wc -l <${folder}/calls)" -ge 2 ] && echo "$source" >"$2"
`,
    { mode: 0o755 },
  );
  const program = `
    import { readFileSync, rmSync } from "node:fs";
    import { dirname } from "node:path";
    const { compiler } = await import(${JSON.stringify(new URL("../../scripts/cuda/compile.mjs", import.meta.url).href)});
    const path = compiler();
    const sources = ["rows/rope", "gemm/gemm", "rows/rope"];
    await path.prepare(sources, "80");
    await path.prepare(sources, "80");
    const compiled = sources.map((source) => readFileSync(path(source, "80"), "utf8").trim().split("/").at(-1));
    const error = await path.prepare(["rows/norm"], "80").catch((cause) => cause.message);
    rmSync(dirname(path("rows/reduce", "80")), { recursive: true });
    console.log(JSON.stringify({ compiled, error }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    env: { ...process.env, NVCC: nvcc },
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual({
    compiled: ["rope.cu", "gemm.cu", "rope.cu"],
    error: "rows/norm: norm is broken\n",
  });
  expect((await readFile(join(folder, "calls"), "utf8")).trim().split("\n").sort()).toEqual([
    "gemm.cu",
    "reduce.cu",
    "rope.cu",
  ]);
  await rm(folder, { recursive: true });
});
