// Refuses to convert a model onto its own weights.
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { invalidArgument } from "../core/errors.ts";
import { partName } from "../formats/gguf/gguf-parts.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { realPathIfAny } from "../io/real-path.ts";

/**
 * Checks that an output does not replace weights of a model that the conversion reads: its GGUF file or a part of it, or
 * the folder of its safetensors. A smaller type would replace the only original.
 * @param whose names the model in the message: "the model's" or "the base's"
 * @throws HeddleError INVALID_ARGUMENT
 */
export async function needOtherPlace(
  { weights }: ModelFiles,
  output: string,
  to: "gguf" | "safetensors",
  whose: string,
): Promise<void> {
  if (weights.format !== to) return;
  const { path } = weights;
  const target = await realPathIfAny(output);
  if (to === "safetensors") {
    const isFolder = (await stat(path)).isDirectory();
    if (target === (await realPathIfAny(isFolder ? path : dirname(path))))
      throw invalidArgument("output", `a path other than ${whose}`, output);
    return;
  }
  const [own, part] = [partName(path), partName(target)];
  const isPart = own && part && own.prefix === part.prefix && own.count === part.count;
  const folders = isPart && (await Promise.all([path, output].map((file) => realPathIfAny(dirname(file)))));
  if (target === (await realPathIfAny(path)) || (folders && folders[0] === folders[1]))
    throw invalidArgument("output", `a path other than ${whose}`, output);
}
