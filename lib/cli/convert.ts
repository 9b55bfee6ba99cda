import { type ConvertOptions, convertModel } from "../convert/convert.ts";
import { modelPath } from "../generate/index.ts";
import { defineCommand } from "./command.ts";

export const command = defineCommand({
  about: "Converts a model between a safetensors folder and a GGUF file.",
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
    const result = await convertModel(modelPath(input), output, {
      to: options.to as ConvertOptions["to"],
      dtype: options.dtype as ConvertOptions["dtype"],
    });
    for (const note of result.notes ?? []) out.log(note);
    if (out.json) out.object(result);
    else out.line(`${output}: ${result.tensors} tensors, ${result.bytes.toLocaleString("en")} bytes`);
  },
});
