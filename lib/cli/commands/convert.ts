import { type ConvertOptions, convertModel } from "../../language-model/index.ts";
import { defineCommand } from "../command.ts";
import { interruptible } from "../terminal/interrupt.ts";

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
    base: {
      kind: "string",
      value: "M",
      about:
        "of an adapter's folder IN: the model it belongs to, where its adapter_config.json names none that is there",
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
    await interruptible("convert", work, () => "nothing is left half written, and running it again begins anew");
  },
});
