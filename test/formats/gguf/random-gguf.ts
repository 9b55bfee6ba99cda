import { join } from "node:path";
import { convertModel } from "../../../lib/convert/convert.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf-file.ts";
import { writeGguf } from "../../../lib/formats/gguf/gguf-write.ts";
import type { QuantizedDType } from "../../../lib/graph/dtype.ts";
import { materialize } from "../../ops/harness.ts";
import { temporaryFolder } from "../helpers.ts";

/**
 * Writes a folder's model as GGUF with matrices of random bits. Their values are of order 1. Small norm weights keep activations of
 * order 1 too, so errors are not amplified.
 * @param typeOf returns the type of the i-th tensor; undefined keeps f32
 */
export async function randomGguf(folder: string, typeOf: (i: number) => QuantizedDType | undefined): Promise<string> {
  const plain = join(temporaryFolder(), "plain.gguf");
  await convertModel(folder, plain);
  const { file, metadata, entries } = await openGguf(plain);
  const tensors = [...entries.values()].map(({ name, dtype: stored, shape, offset, bytes }, i) => {
    const floating = shape.length < 2 || name === "position_embd.weight";
    const dtype = floating ? undefined : typeOf(i);
    if (dtype) return { name, dtype, shape, bytes: materialize([{ dtype, shape }], i)[0] as Uint8Array };
    const small = name.endsWith("norm.weight") ? 1 / 16 : 1;
    const values = new Float32Array(file.bytes(offset, bytes)).map((v) => v * small);
    return { name, dtype: stored!, shape, bytes: new Uint8Array(values.buffer) };
  });
  const path = join(temporaryFolder(), "random.gguf");
  await writeGguf(path, { metadata: metadata.values, tensors });
  file.close();
  return path;
}
