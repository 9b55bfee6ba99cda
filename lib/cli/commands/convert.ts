import { type ConvertOptions, convertModel } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";

export const command = defineCommand({
  about:
    "Converts a model between a safetensors folder and a GGUF file. A LoRA adapter is merged into its base model first.",
  positionals: { usage: "IN OUT", least: 2, most: 2 },
  options: {
    to: {
      kind: "string",
      value: "gguf|safetensors",
      about: "output format (default: gguf if OUT ends in .gguf, else safetensors)",
    },
    dtype: {
      kind: "string",
      value: "f32|bf16|f16|q8_0|q4_0|q4_k|q6_k|fp8",
      about: "element type of the matrices (default: unchanged); quantized types are for GGUF, fp8 is for safetensors",
    },
    base: {
      kind: "string",
      value: "M",
      about: "base model of the adapter IN, if its adapter_config.json does not name an existing one",
    },
  },
  without: { model: "the model as the argument IN" },
  async run({ options, positionals, out }) {
    const [input, output] = positionals as [string, string];
    const { to, dtype, base, device, threads } = options;
    const work = async (signal: AbortSignal) => {
      const result = await convertModel(input, output, { to, dtype, base, device, threads, signal } as ConvertOptions);
      for (const note of result.notes ?? []) out.log(note);
      if (out.json) out.object(result);
      else out.line(`${output}: ${result.tensors} tensors, ${result.bytes.toLocaleString("en")} bytes`);
    };
    await interruptible("convert", work, () => "no partial output is left; run the command again to start over");
  },
});
