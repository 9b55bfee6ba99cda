// Compiles kernels to cubins with the flags of a release. Keeps them in .cmake/forecast, by a hash of the sources and the compiler.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { root } from "../testing.mjs";

const nvcc = process.env.NVCC ?? "nvcc";

/**
 * Returns a function that returns the path of the cubin of a source, such as "rows/norm", for an architecture, such as "90a". Its property
 * `prepare` compiles several sources for an architecture in parallel.
 */
export function compiler() {
  const version = spawnSync(nvcc, ["--version"], { encoding: "utf8" });
  if (version.status !== 0) throw new Error("nvcc is not on PATH");
  const hash = createHash("sha256").update(version.stdout);
  for (const folder of ["cuda", "core", "ops", "runtime"])
    for (const file of readdirSync(join(root, "native", folder), { recursive: true }).sort())
      if (/\.(cu|cuh|h)$/.test(file)) hash.update(file).update(readFileSync(join(root, "native", folder, file)));
  const folder = join(root, ".cmake", "forecast", hash.digest("hex").slice(0, 16));
  mkdirSync(folder, { recursive: true });
  const pathOf = (source, architecture) => join(folder, `${basename(source)}.${architecture}.cubin`);
  const finish = (source, architecture, status, stderr) => {
    if (status !== 0) throw new Error(`${source}: ${stderr}`);
    renameSync(unfinished(source, architecture), pathOf(source, architecture));
  };
  const unfinished = (source, architecture) => `${pathOf(source, architecture)}.${process.pid}`;
  const options = (source, architecture) => [
    ...["-cubin", "-std=c++17", "-O3", `-I${join(root, "native")}`],
    ...["-gencode", `arch=compute_${architecture},code=sm_${architecture}`],
    ...["-o", unfinished(source, architecture), join(root, "native", "cuda", `${source}.cu`)],
  ];
  const cubinPath = (source, architecture) => {
    const path = pathOf(source, architecture);
    if (existsSync(path)) return path;
    const { status, stderr } = spawnSync(nvcc, options(source, architecture), { encoding: "utf8" });
    finish(source, architecture, status, stderr);
    return path;
  };
  const compile = (source, architecture) =>
    new Promise((resolve, reject) => {
      const child = spawn(nvcc, options(source, architecture), { stdio: ["ignore", "ignore", "pipe"] });
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (text) => {
        stderr += text;
      });
      child.on("error", reject);
      child.on("close", (status) => {
        try {
          finish(source, architecture, status, stderr);
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  cubinPath.prepare = async (sources, architecture) => {
    const left = [...new Set(sources)].filter((source) => !existsSync(pathOf(source, architecture)));
    const worker = async () => {
      for (let source = left.shift(); source !== undefined; source = left.shift()) await compile(source, architecture);
    };
    await Promise.all(Array.from({ length: Math.max(2, availableParallelism()) }, worker));
  };
  return cubinPath;
}
