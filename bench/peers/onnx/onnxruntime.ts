import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LineProcess } from "../process.ts";

const sibling = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Returns the folder with onnxruntime-node in node_modules (HEDDLE_BENCH_LLAMA), and a model file, which a Python script writes if it is
 * missing. Returns undefined if onnxruntime-node or Python's onnx is not installed.
 */
function prepared(script: string, args: readonly string[], name: string): { folder: string; file: string } | undefined {
  const folder = process.env.HEDDLE_BENCH_LLAMA;
  if (!folder || !existsSync(join(folder, "node_modules", "onnxruntime-node"))) return undefined;
  const file = join(tmpdir(), "heddle-bench", `${name}.onnx`);
  mkdirSync(dirname(file), { recursive: true });
  const python = process.env.HEDDLE_BENCH_PYTHON ?? "/usr/bin/python3";
  if (!existsSync(file) && spawnSync(python, [sibling(script), ...args, file]).status !== 0) return undefined;
  return { folder, file };
}

/** Opens a Llama with int8 weights, written by onnx_llama.py, in onnxruntime-node. Returns undefined if a package is missing. */
export async function openOnnxRuntime(
  config: Record<string, unknown> & { tokens: number },
  name: string,
  threads: number,
): Promise<OnnxRuntimePeer | undefined> {
  const ready = prepared("onnx_llama.py", [JSON.stringify(config)], `${name}.int8`);
  return ready && opened("onnxruntime.mjs", [ready.folder, ready.file, String(config.tokens), String(threads)]);
}

/** Opens a BERT, written by onnx_bert.py, which takes batches of token ids. Returns undefined if a package is missing. */
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
  /** Returns the seconds of the Llama's prompt, or of the encoder's batches. */
  async time(batches?: readonly (readonly number[][])[]): Promise<number> {
    return (await this.process.ask<{ seconds: number }>({ batches })).seconds;
  }
  close(): void {
    this.process.close();
  }
}
