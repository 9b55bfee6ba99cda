import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LineProcess } from "./process.ts";

const sibling = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Where onnxruntime-node is (HEDDLE_BENCH_LLAMA's node_modules), and a file that Python's onnx writes once; undefined without either. */
function prepared(script: string, args: readonly string[], name: string): { folder: string; file: string } | undefined {
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  if (!folder || !existsSync(join(folder, "node_modules", "onnxruntime-node"))) return undefined;
  const file = join(tmpdir(), "heddle-bench", `${name}.onnx`);
  mkdirSync(dirname(file), { recursive: true });
  const python = process.env.HEDDLE_BENCH_PYTHON ?? "/usr/bin/python3";
  if (!existsSync(file) && spawnSync(python, [sibling(script), ...args, file]).status !== 0) return undefined;
  return { folder, file };
}

/** onnxruntime-node over a Llama with int8 weights made by onnx_llama.py; undefined without what that takes. */
export async function openOnnxRuntime(
  config: Record<string, unknown> & { tokens: number },
  name: string,
  threads: number,
): Promise<OnnxRuntimePeer | undefined> {
  const ready = prepared("onnx_llama.py", [JSON.stringify(config)], `${name}.int8`);
  return ready && opened("onnxruntime.mjs", [ready.folder, ready.file, String(config.tokens), String(threads)]);
}

/** The same over a BERT made by onnx_bert.py, which takes batches of token ids. */
export async function openOnnxEncoder(
  config: Record<string, unknown>,
  name: string,
  kind: "f32" | "int8",
  threads: number,
): Promise<OnnxRuntimePeer | undefined> {
  const ready = prepared("onnx_bert.py", [JSON.stringify(config), kind], `${name.replaceAll(" ", "-")}.${kind}`);
  return ready && opened("onnx_encoder.mjs", [ready.folder, ready.file, String(threads)]);
}

async function opened(script: string, args: string[]): Promise<OnnxRuntimePeer | undefined> {
  const child = new LineProcess(process.execPath, [sibling(script), ...args]);
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
  /** Seconds of its prompt, or of an encoder's batches. */
  async time(batches?: readonly (readonly number[][])[]): Promise<number> {
    return (await this.process.ask<{ seconds: number }>({ batches })).seconds;
  }
  close(): void {
    this.process.close();
  }
}
