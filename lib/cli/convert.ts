import { mkdtemp, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type ConvertOptions, convertModel } from "../convert/convert.ts";
import { ioError, makeFolder } from "../formats/io.ts";
import { isAdapterFolder } from "../generate/adapters.ts";
import { LanguageModel, modelPath } from "../generate/index.ts";
import { defineCommand } from "./command.ts";

export const command = defineCommand({
  about: "Converts a model between a safetensors folder and a GGUF file; of a LoRA adapter, what it makes of its base.",
  positionals: { usage: "IN OUT", least: 2, most: 2 },
  options: {
    to: { kind: "string", value: "gguf|safetensors", about: "gguf where OUT ends in .gguf, else safetensors" },
    dtype: {
      kind: "string",
      value: "f32|bf16|f16|q8_0|q4_0|q4_k|q6_k|fp8",
      about: "of the matrices; each keeps its own where not given; quantised ones are for GGUF, fp8 is for safetensors",
    },
  },
  without: { model: "the model as the argument IN" },
  async run({ options, positionals, out }) {
    const [input, output] = positionals as [string, string];
    const interrupt = new AbortController();
    const stop = () => interrupt.abort();
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    try {
      const { signal } = interrupt;
      const how = { to: options.to, dtype: options.dtype, signal } as ConvertOptions & { signal: AbortSignal };
      const place = { device: options.device, threads: options.threads, signal };
      const result = (await isAdapterFolder(input))
        ? await convertMerged(input, output, how, place)
        : await convertModel(modelPath(input), output, how);
      for (const note of result.notes ?? []) out.log(note);
      if (out.json) out.object(result);
      else out.line(`${output}: ${result.tensors} tensors, ${result.bytes.toLocaleString("en")} bytes`);
    } finally {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    }
  },
});

/** Converts an adapter's base with the adapter merged into it, by way of a folder beside the output. */
async function convertMerged(
  adapter: string,
  output: string,
  how: ConvertOptions & { signal: AbortSignal },
  place: { device?: string | undefined; threads?: number | undefined; signal: AbortSignal },
) {
  await using model = await LanguageModel.load(adapter, place);
  // Where the type is about to change, nothing is rounded before that.
  if (how.dtype !== undefined) await model.model.absorbAdapters();
  else for (const name of model.model.adapters.keys()) await model.model.mergeAdapter(name);
  const parent = dirname(resolve(output));
  await makeFolder(parent);
  const folder = await mkdtemp(join(parent, ".heddle-merged-")).catch((error: unknown) => {
    throw ioError(error, parent, "written");
  });
  try {
    await model.save(folder, { signal: how.signal });
    return await convertModel(folder, output, how);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
