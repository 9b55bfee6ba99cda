// Compiles kernels to cubins with the flags of a release. Keeps them in .cmake/forecast, by a hash of the sources and the compiler.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { basename, join } from "node:path";
import { root } from "../testing.mjs";

const nvcc = process.env.NVCC ?? "nvcc";

/** Returns a function that returns the path of the cubin of a source, such as "rows/norm", for an architecture, such as "90a". */
export function compiler() {
  const version = spawnSync(nvcc, ["--version"], { encoding: "utf8" });
  if (version.status !== 0) throw new Error("nvcc is not on PATH");
  const hash = createHash("sha256").update(version.stdout);
  for (const folder of ["cuda", "core", "ops", "runtime"])
    for (const file of readdirSync(join(root, "native", folder), { recursive: true }).sort())
      if (/\.(cu|cuh|h)$/.test(file)) hash.update(file).update(readFileSync(join(root, "native", folder, file)));
  const folder = join(root, ".cmake", "forecast", hash.digest("hex").slice(0, 16));
  mkdirSync(folder, { recursive: true });
  return (source, architecture) => {
    const path = join(folder, `${basename(source)}.${architecture}.cubin`);
    if (existsSync(path)) return path;
    const unfinished = `${path}.${process.pid}`;
    const target = `arch=compute_${architecture},code=sm_${architecture}`;
    const input = join(root, "native", "cuda", `${source}.cu`);
    const flags = ["-cubin", "-std=c++17", "-O3", `-I${join(root, "native")}`, "-gencode", target];
    const { status, stderr } = spawnSync(nvcc, [...flags, "-o", unfinished, input], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${source}: ${stderr}`);
    renameSync(unfinished, path);
    return path;
  };
}
