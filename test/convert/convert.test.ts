import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertModel } from "../../lib/convert/convert.ts";
import { parseModelConfig } from "../../lib/formats/config/config.ts";
import { modelConfigToJson } from "../../lib/formats/config/config-json.ts";
import { openGguf } from "../../lib/formats/gguf/gguf-file.ts";
import { GgufMetadata } from "../../lib/formats/gguf/gguf-metadata.ts";
import type { GgufValue } from "../../lib/formats/gguf/gguf-types.ts";
import { writeModelCard } from "../../lib/formats/model-card.ts";
import { openModelFiles, readModelConfig } from "../../lib/formats/model-files.ts";
import type { TensorData } from "../../lib/formats/tensor-data.ts";
import type { WeightSource } from "../../lib/formats/weights.ts";
import { tokenizerToGguf } from "../../lib/tokenizer/files/gguf-write.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError, expectSameBytes, temporaryFolder } from "../formats/helpers.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { fixtures } from "../helpers/fixtures.ts";
import { maxDifference } from "../helpers/max-difference.ts";
import { splitGguf } from "./foreign-gguf.ts";

function bytesOf(weights: WeightSource, name: string): Uint8Array {
  const { file, offset, bytes } = weights.tensor(name);
  return new Uint8Array(file.bytes(offset, bytes));
}

/** Writes a small model folder of a family, with values that reveal any misplaced element. */
async function makeModel(modelType: "llama" | "gemma" | "gpt2", extra: Record<string, unknown> = {}): Promise<string> {
  const folder = temporaryFolder();
  const config = parseModelConfig({
    modelType,
    vocabSize: 6,
    hiddenSize: 8,
    intermediateSize: 10,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    ...(modelType !== "gpt2" && { numKeyValueHeads: 1 }),
    maxPositionEmbeddings: 16,
    eosTokenIds: [5],
    ...extra,
  });
  writeFileSync(join(folder, "config.json"), JSON.stringify(modelConfigToJson(config)));
  let next = 0;
  const tensor = (name: string, ...shape: number[]): TensorData => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (next++ % 509) / 4 - 60);
    return { name, dtype: "f32", shape, bytes: new Uint8Array(values.buffer) };
  };
  const { headDim, numKeyValueHeads } = config;
  const tensors: TensorData[] = [];
  if (modelType === "gpt2") {
    tensors.push(tensor("transformer.wte.weight", 6, 8), tensor("transformer.wpe.weight", 16, 8));
    for (let i = 0; i < 2; i++) {
      const h = `transformer.h.${i}`;
      tensors.push(tensor(`${h}.attn.c_attn.weight`, 8, 24), tensor(`${h}.attn.c_attn.bias`, 24));
      tensors.push(tensor(`${h}.mlp.c_fc.weight`, 8, 10), tensor(`${h}.ln_1.weight`, 8), tensor(`${h}.ln_1.bias`, 8));
    }
    tensors.push(tensor("transformer.ln_f.weight", 8), tensor("lm_head.weight", 6, 8));
  } else {
    tensors.push(tensor("model.embed_tokens.weight", 6, 8));
    for (let i = 0; i < 2; i++) {
      const h = `model.layers.${i}`;
      tensors.push(tensor(`${h}.self_attn.q_proj.weight`, 2 * headDim, 8), tensor(`${h}.input_layernorm.weight`, 8));
      tensors.push(tensor(`${h}.self_attn.k_proj.weight`, numKeyValueHeads * headDim, 8));
      tensors.push(tensor(`${h}.self_attn.v_proj.weight`, numKeyValueHeads * headDim, 8));
    }
    tensors.push(tensor("model.norm.weight", 8));
  }
  await saveWeights(folder, tensors);
  return folder;
}

describe("safetensors → GGUF → safetensors", () => {
  test("llama: the rows of q are permuted, and the round trip is exact to the bit", async () => {
    const scaling = {
      ropeType: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: 64,
    };
    const folder = await makeModel("llama", { ropeScaling: scaling, tieWordEmbeddings: true, rmsNormEps: 1e-5 });
    await writeModelCard(folder, {
      stage: "pretrain",
      name: "tiny",
      license: "MIT",
      tokensSeen: 12,
      trainingCutoffDate: "2024-06",
    });
    const file = join(temporaryFolder(), "m.gguf");
    const progress: string[] = [];
    const result = await convertModel(folder, file, { onProgress: ({ tensor }) => progress.push(tensor) });
    expect(result.tensors).toBe(11);
    expect(progress).toHaveLength(11);

    const gguf = await openGguf(file);
    expect(gguf.metadata.string("general.name")).toBe("tiny");
    expect(gguf.metadata.string("general.license")).toBe("mit");
    expect(gguf.metadata.number("general.file_type")).toBe(0);
    const q = gguf.entries.get("blk.0.attn_q.weight")!;
    const source = await openModelFiles(folder);
    const original = new Float32Array(bytesOf(source.weights, "model.layers.0.self_attn.q_proj.weight").buffer);
    const stored = new Float32Array(gguf.file.bytes(q.offset, q.bytes));
    // Heads of 4 rows: 0, 2, 1, 3 (the halves 0 1 | 2 3 are interleaved).
    const order = [0, 2, 1, 3, 4, 6, 5, 7];
    for (const [row, from] of order.entries()) {
      expect(stored.subarray(row * 8, row * 8 + 8)).toEqual(original.subarray(from * 8, from * 8 + 8));
    }
    gguf.file.close();

    const back = temporaryFolder();
    await convertModel(file, back, { to: "safetensors" });
    const again = await openModelFiles(back);
    expect(again.config).toEqual({ ...source.config, dtype: "f32" });
    expect(again.card).toEqual(source.card);
    expect(again.weights.names().sort()).toEqual(source.weights.names().sort());
    for (const name of source.weights.names()) {
      expectSameBytes(bytesOf(again.weights, name), bytesOf(source.weights, name), name);
    }
    source.close();
    again.close();
  });

  test("gpt2: matrices of the layers are transposed, lm_head is not, and the round trip is exact", async () => {
    const folder = await makeModel("gpt2", { tieWordEmbeddings: false });
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, file);
    const source = await openModelFiles(folder);
    const gguf = await openModelFiles(file);
    expect(gguf.weights.info("transformer.h.1.attn.c_attn.weight").shape).toEqual([24, 8]);
    const a = new Float32Array(bytesOf(source.weights, "transformer.h.1.attn.c_attn.weight").buffer);
    const b = new Float32Array(bytesOf(gguf.weights, "transformer.h.1.attn.c_attn.weight").buffer);
    for (let i = 0; i < 8; i++) for (let o = 0; o < 24; o++) expect(b[o * 8 + i]).toBe(a[i * 24 + o]);
    expect(bytesOf(gguf.weights, "lm_head.weight")).toEqual(bytesOf(source.weights, "lm_head.weight"));

    const back = temporaryFolder();
    await convertModel(file, back);
    const again = await openModelFiles(back);
    for (const name of source.weights.names()) {
      expectSameBytes(bytesOf(again.weights, name), bytesOf(source.weights, name), name);
    }
    for (const model of [source, gguf, again]) model.close();
  });

  test("gemma: norms are stored as 1 + w", async () => {
    const folder = await makeModel("gemma");
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, file);
    const source = await openModelFiles(folder);
    const gguf = await openModelFiles(file);
    const name = "model.layers.1.input_layernorm.weight";
    const w = new Float32Array(bytesOf(source.weights, name).buffer);
    expect(new Float32Array(bytesOf(gguf.weights, name).buffer)).toEqual(w.map((value) => value + 1));
    const back = temporaryFolder();
    await convertModel(file, back);
    const again = await openModelFiles(back);
    expect(bytesOf(again.weights, name)).toEqual(bytesOf(source.weights, name));
    for (const model of [source, gguf, again]) model.close();
  });

  test("matrices get the requested type and vectors in GGUF stay f32; rejects values and types that do not fit", async () => {
    const folder = await makeModel("llama");
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, file, { dtype: "bf16" });
    const gguf = await openModelFiles(file);
    expect(gguf.weights.info("model.norm.weight").dtype).toBe("f32");
    expect(gguf.weights.info("model.layers.0.self_attn.q_proj.weight").dtype).toBe("bf16");
    expect(gguf.config.dtype).toBe("bf16");
    gguf.close();
    const half = temporaryFolder();
    await convertModel(file, half, { dtype: "f16" });
    const folderConfig = await readModelConfig(half);
    expect(folderConfig.dtype).toBe("f16");

    const large: TensorData = {
      name: "model.norm.weight",
      dtype: "f32",
      shape: [1],
      bytes: new Uint8Array(Float32Array.of(7e4).buffer),
    };
    await saveWeights(half, [large]);
    const action = () => convertModel(half, join(half, "out"), { dtype: "f16" });
    await expectError(action, "NUMERICAL", /model.norm.weight: expected values within the range of f16, got 1 outside/);
    for (const [value, dtype] of [
      [Number.NaN, undefined],
      [Number.POSITIVE_INFINITY, "bf16"],
      [Number.NaN, "f16"],
    ] as const) {
      await saveWeights(half, [{ ...large, bytes: new Uint8Array(Float32Array.of(value).buffer) }]);
      for (const out of ["out", "out.gguf"])
        await expectError(
          () => convertModel(half, join(half, out), dtype ? { dtype } : {}),
          "NUMERICAL",
          /model.norm.weight: expected (finite numbers, got 1|values within the range)/,
        );
    }
    await expectError(() => convertModel(half, half, { dtype: "q8" as "f16" }), "INVALID_ARGUMENT", /dtype/);
    for (const mix of ["q4_k_m", "Q5_K_M", "q4_K_S", "UD-Q4_K_XL", "iq3_m"])
      await expectError(
        () => convertModel(half, join(half, "x.gguf"), { dtype: mix as "q4_k" }),
        "UNSUPPORTED",
        new RegExp(
          `dtype: expected a plain type \\(f32, f16, bf16, fp8, q8_0, q4_0, q4_k or q6_k\\), got ${mix.toLowerCase()}, a mix of types of llama.cpp`,
        ),
      );
    for (const other of ["q5_k", "iq4_nl", "", "q4_k_"])
      await expectError(
        () => convertModel(half, join(half, "x.gguf"), { dtype: other as "q4_k" }),
        "INVALID_ARGUMENT",
        /dtype: expected f32, f16,/,
      );
    const aborted = { signal: AbortSignal.abort() };
    await expectError(() => convertModel(half, join(half, "x.gguf"), aborted), "ABORTED", /aborted/);
  });

  test("rejects an output that is the input, by any path", async () => {
    const folder = await makeModel("llama");
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(folder, file);
    const before = readFileSync(file);
    const link = join(temporaryFolder(), "link.gguf");
    symlinkSync(file, link);
    for (const [input, output] of [
      [file, file],
      [link, file],
      [file, link],
      [folder, `${folder}/.`],
    ] as const)
      await expectError(
        () => convertModel(input, output, { dtype: "f16" }),
        "INVALID_ARGUMENT",
        /output: expected a path other than the model's, got /,
      );
    expectSameBytes(readFileSync(file), before, "the source");
  });

  test("rejects an output that would replace the weights of the input", async () => {
    const folder = await makeModel("llama");
    const single = temporaryFolder();
    await convertModel(folder, join(single, "m.gguf"));
    const [first, second] = (await splitGguf(join(single, "m.gguf"), 2)) as [string, string];
    const weights = join(folder, "model.safetensors");
    const before = [weights, join(single, "m.gguf"), first, second].map((path) => [path, readFileSync(path)] as const);
    for (const [input, output] of [
      [weights, folder],
      [single, join(single, "m.gguf")],
      [first, second],
      [second, first],
      [dirname(first), second],
    ] as const)
      await expectError(
        () => convertModel(input, output, { dtype: "f16" }),
        "INVALID_ARGUMENT",
        /output: expected a path other than the model's, got /,
      );
    for (const [path, bytes] of before) expectSameBytes(readFileSync(path), bytes, path);
    // Files of the other format have other names, so they may be next to the input.
    await convertModel(folder, join(folder, "m.gguf"));
    await convertModel(join(single, "m.gguf"), single);
  });

  test("bf16 → f32 → bf16 is exact for every finite bit pattern", async () => {
    const folder = await makeModel("llama");
    const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((bits) => (bits & 0x7fff) < 0x7f80);
    const name = "model.embed_tokens.weight";
    await saveWeights(folder, [
      { name, dtype: "bf16", shape: [1, patterns.length], bytes: new Uint8Array(patterns.buffer) },
    ]);
    const wide = temporaryFolder();
    await convertModel(folder, wide, { dtype: "f32" });
    const back = temporaryFolder();
    await convertModel(wide, back, { dtype: "bf16" });
    const model = await openModelFiles(back);
    expectSameBytes(bytesOf(model.weights, name), new Uint8Array(patterns.buffer), name);
    model.close();
  });
});

describe.skipIf(!fixtures)("shared fixtures", () => {
  const path = (name: string) => join(fixtures!, name);

  test.each(["f32", "f16"] as const)(
    "stories260K to %s equals the GGUF file of an independent converter",
    async (dtype) => {
      const file = join(temporaryFolder(), "m.gguf");
      await convertModel(path("stories260K"), file, { dtype });
      const ours = await openGguf(file);
      const theirs = await openGguf(path(`stories260K/stories260K.${dtype.toUpperCase()}.gguf`));
      expect([...ours.entries.keys()].sort()).toEqual([...theirs.entries.keys()].sort());
      for (const [name, entry] of theirs.entries) {
        const own = ours.entries.get(name)!;
        expect(own, name).toMatchObject({ shape: entry.shape, storedDtype: entry.storedDtype });
        const same = Buffer.from(ours.file.bytes(own.offset, own.bytes)).equals(
          Buffer.from(theirs.file.bytes(entry.offset, entry.bytes)),
        );
        expect(same, name).toBe(true);
      }
      const skip = ["general.name", "general.license", "tokenizer.ggml.scores", "tokenizer.ggml.add_eos_token"];
      for (const [key, value] of theirs.metadata.values) {
        if (!skip.includes(key)) expect(ours.metadata.values.get(key), key).toEqual(value);
      }
      expect(ours.metadata.number("tokenizer.ggml.eos_token_id")).toBe(2);
      // heddle writes ranks as scores, the other converter log-probabilities. Both must give the same order of merges.
      // Ids up to 258 are special tokens and bytes. The tokenizer has 165 merges, so pieces that no merge yields have lower scores.
      const [a, b] = [ours, theirs].map(({ metadata }) => metadata.numbers("tokenizer.ggml.scores")!);
      const pieces = [...b!.keys()].filter((id) => a![id]! > -166 && id > 258);
      expect(pieces.length).toBeGreaterThan(100);
      for (let i = 1; i < pieces.length; i++) {
        expect(Math.sign(Number(a![pieces[i]!]) - Number(a![pieces[i - 1]!]))).toBe(
          Math.sign(Number(b![pieces[i]!]) - Number(b![pieces[i - 1]!])),
        );
      }
      ours.file.close();
      theirs.file.close();
    },
  );

  test.each([
    "gpt-nano-sort",
    "tiny-random-gpt2",
    "synth-mistral",
    "synth-qwen2",
    "synth-qwen3",
    "synth-gemma",
    "synth-llama3-rope",
  ])("%s survives conversion to GGUF and back", async (name) => {
    const file = join(temporaryFolder(), "m.gguf");
    await convertModel(path(name), file);
    const back = temporaryFolder();
    await convertModel(file, back);
    const source = await openModelFiles(path(name));
    const again = await openModelFiles(back);
    const { architectures, layerTypes, ...config } = source.config;
    expect(again.config).toMatchObject(config);
    for (const tensor of source.weights.names()) {
      const a = source.weights.tensor(tensor);
      const b = again.weights.tensor(tensor);
      expect(b.shape, tensor).toEqual(a.shape);
      if (a.dtype === b.dtype && !(name === "synth-gemma" && tensor.endsWith("norm.weight"))) {
        expectSameBytes(bytesOf(again.weights, tensor), bytesOf(source.weights, tensor), tensor);
      } else if (a.dtype === b.dtype) {
        // (1 + w) − 1 in float32 is exact to the spacing of floats around 1.
        const [x, y] = [source, again].map((m) => new Float32Array(bytesOf(m.weights, tensor).buffer));
        expect(maxDifference(x!, y!)).toBeLessThanOrEqual(2 ** -23);
      } else {
        expect([a.dtype, b.dtype], tensor).toEqual(["bf16", "f32"]); // vectors widen in GGUF
        const wide = new Uint32Array(bytesOf(again.weights, tensor).buffer);
        const narrow = new Uint16Array(bytesOf(source.weights, tensor).buffer);
        expect(
          wide.every((bits, i) => bits === (narrow[i]! << 16) >>> 0),
          tensor,
        ).toBe(true);
      }
    }
    source.close();
    again.close();
  });

  const ids = (vocabSize: number) => ({ vocabSize, bosTokenId: 1, eosTokenIds: [2], padTokenId: null });
  const load = (name: string) => JSON.parse(readFileSync(path(name), "utf8"));
  const jsonOf = (meta: GgufMetadata) => JSON.parse(Tokenizer.fromGguf(meta.record()).files()["tokenizer.json"]!);
  const withoutJson = (meta: Map<string, GgufValue>) => {
    meta.delete("tokenizer.huggingface.json"); // so that the tokenizer is rebuilt from the vocabulary
    return new GgufMetadata(meta);
  };
  const pairs = (merges: (string | [string, string])[]) => merges.map((m) => (typeof m === "string" ? m : m.join(" ")));

  test.each([
    ["stories260K/tokenizer.json", 512],
    ["tokenizers/llama2/tokenizer.json", 32000],
  ])("%s gives the same tokenizer if it is rebuilt from GGUF's vocabulary", (name, size) => {
    const original = load(name);
    const tokenizer = jsonOf(withoutJson(tokenizerToGguf({ path: name, tokenizer: original }, ids(size))));
    const { model, ...rest } = tokenizer;
    const { model: expected, ...expectedRest } = original;
    expect(rest).toEqual(expectedRest);
    expect(model.vocab).toEqual(expected.vocab);
    expect(pairs(model.merges)).toEqual(pairs(expected.merges));
  });

  test("the merges rebuilt from a foreign GGUF vocabulary are Llama 2's", async () => {
    const gguf = await openGguf(path("llama2-tiny-random-gguf/llama-2-tiny-random.gguf"));
    const tokenizer = jsonOf(gguf.metadata);
    const { model } = load("tokenizers/llama2/tokenizer.json");
    expect(pairs(tokenizer.model.merges)).toEqual(pairs(model.merges));
    expect(tokenizer.model.vocab).toEqual(model.vocab);
    gguf.file.close();
  });

  test("GPT-2's tokenizer is the same if it is rebuilt from GGUF's vocabulary", () => {
    const original = load("tokenizers/gpt2/tokenizer.json");
    const meta = tokenizerToGguf(
      { path: "gpt2", tokenizer: original },
      { ...ids(50257), bosTokenId: 50256, eosTokenIds: [50256] },
    );
    expect(meta.get("tokenizer.ggml.pre")).toEqual({ type: "string", value: "gpt-2" });
    const tokenizer = jsonOf(withoutJson(meta));
    const { model } = tokenizer;
    expect(model.vocab).toEqual(original.model.vocab);
    expect(pairs(model.merges)).toEqual(pairs(original.model.merges));
    expect(tokenizer.pre_tokenizer).toMatchObject({ type: "ByteLevel", use_regex: true, add_prefix_space: false });
    const whole = tokenizerToGguf({ path: "gpt2", tokenizer: original }, ids(50300));
    expect(JSON.parse(new GgufMetadata(whole).requireString("tokenizer.huggingface.json"))).toEqual(original);
    expect(pairs(jsonOf(new GgufMetadata(whole)).model.merges)).toEqual(original.model.merges);
    expect((whole.get("tokenizer.ggml.tokens") as { value: string[] }).value[50299]).toBe("[PAD50299]");
  });
});
