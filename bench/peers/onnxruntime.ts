import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LineProcess } from "./process.ts";

const sibling = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * onnxruntime-node over a Llama with int8 weights made by onnx_llama.py; undefined without the package (in
 * HEDDLE_BENCH_LLAMA's node_modules) or without Python's onnx to write the file.
 */
export async function openOnnxRuntime(
  config: Record<string, unknown> & { tokens: number },
  name: string,
  threads: number,
): Promise<OnnxRuntimePeer | undefined> {
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  if (!folder || !existsSync(join(folder, "node_modules", "onnxruntime-node"))) return undefined;
  const file = join(tmpdir(), "heddle-bench", `${name}.int8.onnx`);
  mkdirSync(dirname(file), { recursive: true });
  if (!existsSync(file)) {
    const python = process.env.HEDDLE_BENCH_PYTHON ?? "/usr/bin/python3";
    if (spawnSync(python, [sibling("onnx_llama.py"), JSON.stringify(config), file]).status !== 0) return undefined;
  }
  const args = [folder, file, String(config.tokens), String(threads)];
  const child = new LineProcess(process.execPath, [sibling("onnxruntime.mjs"), ...args]);
  const first = await child.read<{ version: string }>();
  return first && new OnnxRuntimePeer(child, first.version);
}

export class OnnxRuntimePeer {
  readonly version: string;
  private readonly process: LineProcess;
  constructor(process: LineProcess, version: string) {
    this.process = process;
    this.version = version;
  }
  /** Seconds of one prompt. */
  async time(): Promise<number> {
    return (await this.process.ask<{ seconds: number }>({})).seconds;
  }
  close(): void {
    this.process.close();
  }
}
