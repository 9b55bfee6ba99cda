// Compiles every CUDA kernel for the architectures of a source build and says what each costs: warnings are errors, and so
// are registers spilled to memory. Needs nvcc and no GPU. `npm run check:cuda [-- FILE ...]`
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { root } from "./testing.mjs";

const nvcc = process.env.NVCC ?? "nvcc";
if (spawnSync(nvcc, ["--version"], { stdio: "ignore" }).status !== 0) {
  console.warn("check:cuda: NOT RUN, nvcc is not on PATH");
  process.exit(0);
}

const folder = join(root, "native", "cuda");
const asked = process.argv.slice(2).map((file) => basename(file));
const sources = readdirSync(folder).filter((f) => f.endsWith(".cu") && (asked.length === 0 || asked.includes(f)));
const architectures = ["80", "90a"];
const out = mkdtempSync(join(tmpdir(), "heddle-check-cuda-"));
let failed = 0;
for (const source of sources) {
  for (const architecture of architectures) {
    const cubin = join(out, `${source}.${architecture}.cubin`);
    const { status, stderr } = spawnSync(
      nvcc,
      [
        ...["-cubin", "-std=c++17", "-O3", `-I${join(root, "native")}`, "-o", cubin, join(folder, source)],
        ...["-gencode", `arch=compute_${architecture},code=sm_${architecture}`],
        ...["-Werror", "all-warnings", "-Xptxas=-v,-warn-spills,-warn-lmem-usage"],
      ],
      { encoding: "utf8" },
    );
    // A device function's own lines end with the registers of the kernel.
    const registers = [...stderr.matchAll(/Used (\d+) registers/g)].map(([, n]) => Number(n));
    const spills = [...stderr.matchAll(/(\d+) bytes spill stores/g)].map(([, n]) => Number(n));
    const spilled = Math.max(0, ...spills);
    const ok = status === 0 && spilled === 0;
    if (!ok) {
      failed += 1;
      const lines = stderr.split("\n").filter((line) => !/^ptxas info/.test(line));
      console.error(lines.join("\n"));
    }
    const size = status === 0 ? `${Math.round(statSync(cubin).size / 1024)} KB` : "";
    console.log(
      `${ok ? "ok    " : "FAILED"} ${source.padEnd(22)} sm_${architecture.padEnd(4)} ${registers.length} kernels, at most ${Math.max(0, ...registers)} registers, ${spilled} bytes spilled ${size}`,
    );
  }
}
rmSync(out, { recursive: true });
if (failed > 0) console.error(`check:cuda: ${failed} of ${sources.length * architectures.length} failed`);
process.exit(failed > 0 ? 1 : 0);
