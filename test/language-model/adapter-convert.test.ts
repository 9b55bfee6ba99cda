// Converts adapters of quantized bases to GGUF.
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openWeights } from "../../lib/formats/weights.ts";
import { convertModel } from "../../lib/language-model/convert.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-adapter-convert-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Returns the type and the bytes of each tensor of a GGUF file. */
async function tensorsOf(path: string): Promise<Map<string, { dtype: string; bytes: Buffer }>> {
  const file = await readFile(path);
  const weights = await openWeights(path);
  const found = weights.names().map((name) => {
    const { storedDtype, offset, bytes } = weights.tensor(name);
    return [name, { dtype: storedDtype, bytes: file.subarray(offset, offset + bytes) }] as const;
  });
  weights.close();
  return new Map(found);
}

async function logitsOf(path: string): Promise<number[]> {
  await using model = await LanguageModel.load(path, { quantizedActivations: "f32" });
  return (await model.logits([1, 5, 9, 2, 7])).flatMap((row) => [...row]);
}

const sizes = { vocabSize: 96, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 2, numAttentionHeads: 4 };
const families = {
  llama: { modelType: "llama", numKeyValueHeads: 2, tieWordEmbeddings: false },
  phi3: { modelType: "phi3", numKeyValueHeads: 2, tieWordEmbeddings: false },
  gpt2: { modelType: "gpt2" },
  mixtral: {
    modelType: "mixtral",
    numKeyValueHeads: 2,
    numExperts: 4,
    numExpertsPerTok: 2,
    tieWordEmbeddings: false,
  },
} as const;

describe.each([
  ["v_proj", "llama", "q8_0", /attn_v\.weight$/],
  ["q_proj", "llama", "q4_0", /attn_q\.weight$/],
  ["o_proj", "phi3", "q8_0", /attn_output\.weight$/],
  ["c_fc", "gpt2", "q8_0", /ffn_up\.weight$/],
  ["k_proj", "mixtral", "q8_0", /attn_k\.weight$/],
] as const)("an adapter on %s of a %s base quantized to %s", (target, family, dtype, changed) => {
  test("becomes a GGUF file in which all other matrices keep their blocks", async () => {
    const name = (suffix: string) => join(folder, `${family}-${dtype}${suffix}`);
    {
      await using whole = createModel({ ...families[family], ...sizes, maxPositionEmbeddings: 64 } as never, {
        seed: 5,
      });
      await whole.save(name(""));
    }
    const base = name(".gguf");
    await convertModel(name(""), base, { dtype });
    {
      await using model = await LanguageModel.load(base);
      await model.model.addAdapter("mine", { r: 2, targetModules: [target] });
      for (const [i, t] of adapterTensors(model.model.adapters.get("mine")!).entries()) {
        const tensor = model.model.weight(t);
        await tensor.write(uniform(tensor.elements, 0.3, generator(31 + i)));
      }
      await model.saveAdapter(name("-adapter"), { name: "mine" });
    }
    const merged = name("-merged.gguf");
    await convertModel(name("-adapter"), merged);
    const [before, after] = [await tensorsOf(base), await tensorsOf(merged)];
    expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
    for (const [tensor, { dtype: own, bytes }] of after) {
      const { dtype: old, bytes: blocks } = before.get(tensor)!;
      if (own === old) expect(bytes.equals(blocks), tensor).toBe(true);
      else expect([tensor, own]).toEqual([expect.stringMatching(changed), "F32"]);
    }
    expect([...after].filter(([tensor, { dtype: own }]) => own !== before.get(tensor)!.dtype)).toHaveLength(2);
    const grown = [...after].reduce((n, [tensor, { bytes }]) => n + bytes.length - before.get(tensor)!.bytes.length, 0);
    expect((await stat(merged)).size - (await stat(base)).size).toBeLessThan(grown + 4096);
    // A merged folder holds the dequantized blocks in f32, so both conversions give the same logits.
    const folderOut = name("-merged");
    await convertModel(name("-adapter"), folderOut);
    const [quantized, wide] = [await logitsOf(merged), await logitsOf(folderOut)];
    const error = Math.hypot(...quantized.map((x, i) => x - wide[i]!)) / Math.hypot(...wide);
    expect(error).toBeLessThan(1e-5);
    await convertModel(name("-adapter"), name("-same.gguf"), { dtype });
    const same = await tensorsOf(name("-same.gguf"));
    for (const [tensor, { bytes }] of same)
      if (!changed.test(tensor)) expect(bytes.equals(before.get(tensor)!.bytes), tensor).toBe(true);
  });
});
