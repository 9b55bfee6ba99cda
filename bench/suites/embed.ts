// Benchmarks text embedding with encoders of real shapes and random weights. Compares with onnxruntime-node (the runtime of
// transformers.js) in f32 and int8, and with PyTorch in f32 and bf16, in the same run. `npm run bench -- embed [--only base] [--rounds N]`
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Device } from "../../lib/graph/index.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { type Contender, interleave, pairedRatio, report, seconds, settle } from "../measure.ts";
import { openOnnxEncoder } from "../peers/onnx/onnxruntime.ts";
import { openTorch } from "../peers/torch/torch.ts";

const bert = { modelType: "bert", vocabSize: 30522, maxPositionEmbeddings: 512 } as const;
/** The shapes of all-MiniLM-L6 and BERT base. */
const SHAPES = {
  "MiniLM 23M": { ...bert, hiddenSize: 384, intermediateSize: 1536, numHiddenLayers: 6, numAttentionHeads: 12 },
  "BERT base 110M": { ...bert, hiddenSize: 768, intermediateSize: 3072, numHiddenLayers: 12, numAttentionHeads: 12 },
} as const;

/** Returns token ids of three workloads: 256 sentences of 8 to 120 tokens (most are short), one query, and one passage. */
function workloads(): Record<string, number[][]> {
  let state = 1;
  const uniform = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  const text = (length: number) => Array.from({ length }, () => 3 + Math.floor(uniform() * 250));
  return {
    "256 sentences": Array.from({ length: 256 }, () => text(8 + Math.floor(112 * uniform() ** 2))),
    "a query of 12 tokens": [text(12)],
    "a passage of 400 tokens": [text(400)],
  };
}

/** Returns batches of 32 texts of similar length, as sentence-transformers does. */
function batchesOf(texts: readonly number[][]): number[][][] {
  const sorted = [...texts].sort((a, b) => b.length - a.length);
  return Array.from({ length: Math.ceil(sorted.length / 32) }, (_, i) => sorted.slice(32 * i, 32 * i + 32));
}

/** heddle's element types with the corresponding types of the peers. */
const TYPES = [
  { dtype: "f32", onnx: "f32", torch: "f32" },
  { dtype: "bf16", onnx: undefined, torch: "bf16" },
  { dtype: "q8_0", onnx: "int8", torch: undefined },
] as const;

export async function benchEmbed(device: Device, { rounds = 7, peers = true, only = "" } = {}): Promise<void> {
  const torch = peers ? await openTorch("torch_embed", device.threads) : undefined;
  if (!torch) report({ note: "no Python with torch: encoders are not compared with it" });
  for (const [name, config] of Object.entries(SHAPES)) {
    const folder = await encoder(name, config, device);
    for (const { dtype, ...theirs } of TYPES) {
      if (!`${name} ${dtype}`.includes(only)) continue;
      await using model = await LanguageModel.load(folder, { device, dtype });
      const onnx = peers && theirs.onnx ? await openOnnxEncoder(config, name, theirs.onnx, device.threads) : undefined;
      for (const [work, texts] of Object.entries(workloads())) {
        const batches = batchesOf(texts);
        const repeat = texts.length === 1 ? 10 : 1;
        const contenders: Contender[] = [
          {
            name: "heddle",
            run: async () => {
              await settle();
              return (
                (await seconds(async () => {
                  for (let i = 0; i < repeat; i++) await model.embed(texts);
                })) / repeat
              );
            },
          },
        ];
        if (onnx)
          contenders.push({
            name: `onnxruntime-node ${onnx.version} ${theirs.onnx}`,
            run: async () => (await onnx.time(Array.from({ length: repeat }, () => batches).flat())) / repeat,
          });
        if (torch && theirs.torch)
          contenders.push({
            name: `torch ${torch.description.torch} ${theirs.torch}`,
            run: async () => (await torch.time({ config, dtype: theirs.torch, batches }, repeat)).seconds,
          });
        const [ours, ...others] = await interleave(contenders, rounds);
        const tokens = texts.reduce((sum, { length }) => sum + length, 0);
        report({
          name: `embed ${work} ${name} ${dtype}`,
          milliseconds: Object.fromEntries(
            [ours!, ...others].map((t) => [t.name, Number((1000 * t.median).toFixed(3))]),
          ),
          tokensPerSecond: Math.round(tokens / ours!.median),
          ratio: Object.fromEntries(others.map((t) => [t.name, pairedRatio(t, ours!)])),
        });
      }
      onnx?.close();
    }
  }
  torch?.close();
}

/** Returns a folder with a random encoder of this shape in f32, and creates the folder if it is missing. */
async function encoder(name: string, config: (typeof SHAPES)[keyof typeof SHAPES], device: Device): Promise<string> {
  const folder = join(tmpdir(), "heddle-bench", name.replaceAll(" ", "-"));
  if (existsSync(join(folder, "config.json"))) return folder;
  await mkdir(folder, { recursive: true });
  const tokenizer = await Tokenizer.train(["the quick brown fox jumps over the lazy dog. "], { vocabSize: 300 });
  await using model = createModel(config, { tokenizer, seed: 1, device });
  await model.save(folder);
  return folder;
}
