import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SHAPES as shared } from "../lib/bench/models.ts";
import { convertModel } from "../lib/convert/convert.ts";
import type { Device } from "../lib/graph/index.ts";
import { createModel } from "../lib/language-model/create.ts";
import { Tokenizer } from "../lib/tokenizer/index.ts";

/** Shapes of the models, which get random weights: those of `heddle bench`, and TinyLlama 1.1B (untied). */
export const SHAPES = {
  "15M": shared["15M"],
  "135M": shared["135M"],
  "1.1B": {
    hiddenSize: 2048,
    intermediateSize: 5632,
    numHiddenLayers: 22,
    numAttentionHeads: 32,
    numKeyValueHeads: 4,
    vocabSize: 32000,
    tieWordEmbeddings: false,
  },
} as const;
export type ShapeName = keyof typeof SHAPES;
export const shapeNames = Object.keys(SHAPES) as ShapeName[];

/** Element types of the files. */
export const fileTypes = ["bf16", "q8_0", "q4_0", "q4_k"] as const;
export type FileType = (typeof fileTypes)[number];

/** Returns a GGUF file of a shape, for heddle and its peers. Creates it in the temporary folder if it is missing. */
export async function benchModel(name: ShapeName, device: Device, type: FileType = "bf16"): Promise<string> {
  const folder = join(tmpdir(), "heddle-bench");
  const file = join(folder, `${name}.${type}.gguf`);
  if (existsSync(file)) return file;
  if (type !== "bf16") {
    await convertModel(await benchModel(name, device), file, { dtype: type });
    return file;
  }
  await mkdir(folder, { recursive: true });
  const tokenizer = await Tokenizer.train(["the quick brown fox jumps over the lazy dog. "], { vocabSize: 300 });
  const shape = SHAPES[name];
  await using model = createModel(
    { modelType: "llama", tieWordEmbeddings: true, maxPositionEmbeddings: 2048, ...shape },
    { tokenizer, seed: 1, device },
  );
  await model.save(join(folder, name));
  await convertModel(join(folder, name), file, { to: "gguf", dtype: "bf16" });
  return file;
}

/** Returns the f32 folder from which a shape's GGUF files are converted. */
export async function benchFolder(name: ShapeName, device: Device): Promise<string> {
  const folder = join(tmpdir(), "heddle-bench", name);
  if (!existsSync(join(folder, "config.json"))) {
    await rm(join(tmpdir(), "heddle-bench", `${name}.bf16.gguf`), { force: true });
    await benchModel(name, device);
  }
  return folder;
}
