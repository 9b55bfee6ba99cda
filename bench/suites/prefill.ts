// Measures prefill of a 512-token prompt. Compares with PyTorch in bf16 and onnxruntime-node in int8 in the same run (the inference suite
// has node-llama-cpp). `npm run bench -- prefill [--only 135M] [--rounds N]`

import type { Device } from "../../lib/graph/index.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { type Contender, interleave, pairedRatio, report, seconds, settle } from "../measure.ts";
import { benchModel, SHAPES, type ShapeName, shapeNames } from "../models.ts";
import { openOnnxRuntime } from "../peers/onnx/onnxruntime.ts";
import { openTorch } from "../peers/torch/torch.ts";

const TOKENS = 512;

export async function benchPrefill(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  const torch = peers ? await openTorch("torch_prefill", device.threads) : undefined;
  for (const name of shapeNames) {
    if (!name.includes(only)) continue;
    const config = { ...SHAPES[name], tokens: TOKENS };
    if (torch) {
      const run = async () => (await torch.time({ config, dtype: "bf16", tokens: TOKENS }, 1)).seconds;
      await against(name, "bf16", { name: `torch ${torch.description.torch} bf16`, run }, device, rounds);
    }
    const onnx = peers ? await openOnnxRuntime(config, name, device.threads) : undefined;
    if (onnx) {
      const run = () => onnx.time();
      await against(name, "q8_0", { name: `onnxruntime-node ${onnx.version} int8`, run }, device, rounds);
      onnx.close();
    }
    if (!torch) report({ note: "no Python with torch: prefill is not compared with it" });
    if (!onnx) report({ note: "onnxruntime-node or Python's onnx was not found: prefill is not compared with it" });
  }
  torch?.close();
}

async function against(
  name: ShapeName,
  type: "bf16" | "q8_0",
  peer: Contender,
  device: Device,
  rounds: number,
): Promise<void> {
  await using model = await LanguageModel.load(await benchModel(name, device, type), { device, contextLength: 1024 });
  const prompt = Array.from({ length: TOKENS }, (_, i) => 3 + ((i * 7919) % 250));
  const ours: Contender = {
    name: "heddle",
    run: async () => {
      await settle();
      return seconds(() => model.complete(prompt, { temperature: 0, ignoreEos: true, maxTokens: 1 }));
    },
  };
  const [a, b] = await interleave([ours, peer], rounds);
  const rate = (s: number) => Math.round(TOKENS / s);
  report({
    name: `prefill ${TOKENS} ${name} ${type}`,
    tokensPerSecond: { heddle: rate(a!.median), [peer.name]: rate(b!.median) },
    ratio: pairedRatio(b!, a!),
  });
}
