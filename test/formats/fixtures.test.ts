import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { binding } from "../../lib/binding/index.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { modelConfigToJson } from "../../lib/formats/config/config-json.ts";
import { layoutChange } from "../../lib/formats/gguf/gguf-names.ts";
import "../../lib/models/registry.ts";
import { openModelFiles } from "../../lib/formats/model-files.ts";
import type { StoredTensor } from "../../lib/formats/weights.ts";
import { openWeights } from "../../lib/formats/weights.ts";
import { DTYPES } from "../../lib/graph/dtype.ts";
import { fixtures } from "../helpers/fixtures.ts";

function floats(tensor: StoredTensor): Float32Array {
  expect(tensor.dtype).toBe("f32");
  return new Float32Array(tensor.file.bytes(tensor.offset, tensor.bytes));
}

describe.skipIf(!fixtures)("shared fixtures", () => {
  const path = (name: string) => join(fixtures!, name);

  test.each([
    ["stories260K", 47, "f32", { modelType: "llama", headDim: 8, numKeyValueHeads: 4, tieWordEmbeddings: true }],
    [
      "gpt-nano-sort",
      41,
      "f32",
      { modelType: "gpt2", hiddenSize: 48, intermediateSize: 192, tieWordEmbeddings: false },
    ],
    ["tiny-random-gpt2", 64, "f32", { modelType: "gpt2", vocabSize: 1000, tieWordEmbeddings: true, eosTokenIds: [98] }],
    ["synth-mistral", 21, "f32", { modelType: "mistral", headDim: 24, slidingWindow: 16, ropeTheta: 1e6 }],
    [
      "synth-qwen2",
      26,
      "f32",
      { modelType: "qwen2", slidingWindow: null, layerTypes: ["full_attention", "full_attention"] },
    ],
    ["synth-qwen3", 24, "bf16", { modelType: "qwen3", headDim: 32, dtype: "bf16" }],
    [
      "synth-gemma",
      20,
      "f32",
      { modelType: "gemma", headDim: 32, hiddenAct: "gelu_pytorch_tanh", numKeyValueHeads: 1 },
    ],
    [
      "synth-llama3-rope",
      21,
      "f32",
      {
        ropeScaling: {
          ropeType: "llama3",
          factor: 8,
          lowFreqFactor: 1,
          highFreqFactor: 4,
          originalMaxPositionEmbeddings: 64,
        },
      },
    ],
  ])("%s opens with the expected configuration", async (name, tensors, dtype, expected) => {
    const model = await openModelFiles(path(name));
    expect(model.weights.names()).toHaveLength(tensors);
    expect(model.weights.tensor(model.weights.names()[0]!).dtype).toBe(dtype);
    expect(model.config).toMatchObject(expected);
    expect(parseModelConfig(model.config)).toEqual(model.config);
    expect(parseModelConfig(modelConfigToJson(model.config), "config.json")).toMatchObject({
      ...model.config,
      architectures: expect.anything(),
    });
    model.close();
  });

  test("the GGUF file of stories260K has the configuration and values of the folder", async () => {
    const folder = await openModelFiles(path("stories260K"));
    const gguf = await openModelFiles(path("stories260K/stories260K.F32.gguf"));
    const { architectures, eosTokenIds, ...same } = folder.config;
    expect(gguf.config).toMatchObject(same);
    expect(folder.generation).toEqual({ bosTokenId: 1, eosTokenIds: [1, 2], doSample: false, maxLength: 512 });
    expect(gguf.weights.names().sort()).toEqual(folder.weights.names().sort());
    for (const name of folder.weights.names()) {
      const a = floats(folder.weights.tensor(name));
      const b = floats(gguf.weights.tensor(name));
      const { shape } = folder.weights.info(name);
      expect(gguf.weights.info(name).shape, name).toEqual(shape);
      const change = layoutChange(name, folder.config);
      if (change.kind !== "rope") {
        expect(b, name).toEqual(a);
        continue;
      }
      const columns = shape[1]!;
      const width = shape[0]! / change.heads;
      for (let row = 0; row < shape[0]!; row++) {
        // GGUF interleaves the halves of a head's rows: row 2j + p is row p · width / 2 + j of the folder.
        const [head, within] = [Math.floor(row / width), row % width];
        const from = head * width + (within % 2) * (width / 2) + Math.floor(within / 2);
        expect(b.subarray(row * columns, (row + 1) * columns), `${name} row ${row}`).toEqual(
          a.subarray(from * columns, (from + 1) * columns),
        );
      }
    }
    folder.close();
    gguf.close();
  });

  test("a GGUF file written by other software opens with defaults for its missing keys", async () => {
    const model = await openModelFiles(path("llama2-tiny-random-gguf/llama-2-tiny-random.gguf"));
    expect(model.config).toMatchObject({
      modelType: "llama",
      vocabSize: 32000,
      headDim: 4,
      ropeTheta: 10000,
      rmsNormEps: 1e-5,
      tieWordEmbeddings: false,
      dtype: "f16",
    });
    expect(model.weights.tensor("lm_head.weight")).toMatchObject({ shape: [32000, 8], dtype: "f16" });
    model.close();
  });

  test("the F16 file of stories260K has the F32 file's norm unchanged and its embeddings rounded to f16", async () => {
    const f32 = await openWeights(path("stories260K/stories260K.F32.gguf"));
    const f16 = await openWeights(path("stories260K/stories260K.F16.gguf"));
    const a = floats(f32.tensor("output_norm.weight"));
    expect(floats(f16.tensor("output_norm.weight"))).toEqual(a);
    const { dtype, file, offset, bytes } = f16.tensor("token_embd.weight");
    expect({ dtype, bytes }).toEqual({ dtype: "f16", bytes: 512 * 64 * 2 });
    const { f16: half, f32: single } = DTYPES;
    const widened = binding.castElements(new Uint8Array(file.bytes(offset, bytes)), half, single, 0).bytes;
    const embeddings = floats(f32.tensor("token_embd.weight"));
    expect(embeddings.some((value) => Math.abs(value) > 0.1)).toBe(true);
    // f16 has 11 significant bits, and a spacing of 2^-24 below 2^-14.
    const error = new Float32Array(widened).map((value, i) => {
      const exact = embeddings[i]!;
      return Math.abs(value - exact) / Math.max(Math.abs(exact) * 2 ** -11, 2 ** -25);
    });
    expect(Math.max(...error)).toBeLessThanOrEqual(1);
    f32.close();
    f16.close();
  });
});
