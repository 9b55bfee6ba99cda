// scripts/cuda/binaries.mjs, with which `npm run check:cuda` checks the tensor core instructions of kernels.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

type Counts = Map<string, Record<string, number>>;
const { accessesBeforeWait, countInstructions, plainName, sectionsOf, unorderedLoads, writtenInstructions } =
  (await import(new URL("../../scripts/cuda/binaries.mjs", import.meta.url).href)) as {
    accessesBeforeWait: (cubin: string) => Map<string, string[]>;
    countInstructions: (cubin: string) => Counts;
    unorderedLoads: (ptx: string) => string[];
    writtenInstructions: (ptx: string) => Counts;
    plainName: (mangled: string) => string;
    sectionsOf: (path: string) => { name: string; bytes: number; kept: boolean }[];
  };

test("parses kernel names and sections", () => {
  expect(plainName("_ZN6heddle4cuda12_GLOBAL__N_113tensor_kernelILi64EEEvNS0_4GemmE")).toBe("tensor_kernel");
  expect(plainName("plain")).toBe("plain");
  const sections = sectionsOf(process.execPath);
  expect(sections.find((s) => s.name === ".text")).toMatchObject({ kept: true });
  expect(() => sectionsOf(new URL(import.meta.url).pathname)).toThrow(/not an ELF64 file/);
});

test("check:cuda rejects a missing file", () => {
  const script = fileURLToPath(new URL("../../scripts/check-cuda.mjs", import.meta.url));
  const env = { ...process.env, NVCC: process.execPath }; // the output of node --version is accepted as nvcc's
  const { status, stderr } = spawnSync(process.execPath, [script, "norm.cu", "missing.cu"], { env, encoding: "utf8" });
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: "check:cuda: expected names of CUDA files, got missing.cu\n",
  });
});

const nvcc = spawnSync("nvcc", ["--version"], { stdio: "ignore" }).status === 0;
if (!nvcc) console.warn("instructions of a compiled kernel: skipped, nvcc is not on PATH");

test.skipIf(!nvcc)("finds accesses of global memory that griddepcontrol.wait does not order", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-binaries-"));
  try {
    const [source, cubin, ptx] = [join(folder, "k.cu"), join(folder, "k.cubin"), join(folder, "k.ptx")];
    const wait = 'asm volatile("griddepcontrol.wait;" ::: "memory");';
    await writeFile(
      source,
      `extern "C" __global__ void late(volatile float* x) { float v = x[0]; ${wait} x[1] = v; }
       extern "C" __global__ void first(volatile float* x) { ${wait} x[1] = x[0]; }
       extern "C" __global__ void cached(const float* __restrict__ x, float* __restrict__ y) { ${wait} y[0] = x[0]; }
       extern "C" __global__ void without(const float* __restrict__ x, float* __restrict__ y) { y[0] = x[0]; }\n`,
    );
    const target = ["-gencode", "arch=compute_90a,code=sm_90a"];
    expect(spawnSync("nvcc", ["-cubin", ...target, "-o", cubin, source]).status).toBe(0);
    expect(spawnSync("nvcc", ["-ptx", "-arch=compute_90a", "-o", ptx, source]).status).toBe(0);
    const accesses = accessesBeforeWait(cubin);
    expect([accesses.get("late"), accesses.get("first"), accesses.get("without")]).toEqual([["LDG"], [], undefined]);
    expect(unorderedLoads(ptx)).toEqual(["cached"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.skipIf(!nvcc)("counts a kernel's tensor core instructions", async () => {
  const folder = await mkdtemp(join(tmpdir(), "heddle-binaries-"));
  try {
    const source = join(folder, "k.cu");
    await writeFile(
      source,
      `extern "C" __global__ void twice(float4* c, uint4 a, uint2 b) {
         float4 s = *c;
         for (int i = 0; i < 2; ++i)
           asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
             : "+f"(s.x), "+f"(s.y), "+f"(s.z), "+f"(s.w) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
         *c = s;
       }
       extern "C" __global__ void rounded(float4* c, uint4 a, uint2 b) {
         float4 s = *c;
         asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
           : "+f"(s.x), "+f"(s.y), "+f"(s.z), "+f"(s.w) : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
         *c = s;
       }
       extern "C" __global__ void none(float* c) { *c = 1; }\n`,
    );
    const target = ["-gencode", "arch=compute_90a,code=sm_90a"];
    for (const kind of ["cubin", "ptx"])
      expect(
        spawnSync("nvcc", [
          `-${kind}`,
          ...(kind === "ptx" ? ["-arch=compute_90a"] : target),
          "-o",
          join(folder, kind),
          source,
        ]).status,
      ).toBe(0);
    const counted = countInstructions(join(folder, "cubin"));
    expect(counted.get("twice")).toMatchObject({ mma: 2, "mma.tf32": 0, wgmma: 0, ldmatrix: 0 });
    expect(counted.get("rounded")).toMatchObject({ mma: 0, "mma.tf32": 1 });
    expect(counted.get("none")).toMatchObject({ mma: 0 });
    const written = writtenInstructions(join(folder, "ptx"));
    expect(written.get("twice")).toMatchObject({ mma: 2, "mma.tf32": 0, "cp.async": 0 });
    expect(written.get("rounded")).toMatchObject({ mma: 0, "mma.tf32": 1 });
  } finally {
    await rm(folder, { recursive: true });
  }
});
