import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readAdapterConfig } from "../../lib/formats/adapter-config.ts";
import { openSafetensors } from "../../lib/formats/safetensors/safetensors.ts";
import { convertModel } from "../../lib/language-model/convert.ts";
import { createModel } from "../../lib/language-model/create.ts";
import { LanguageModel } from "../../lib/language-model/language-model.ts";
import { adapterTensors } from "../../lib/models/adapters/adapters.ts";
import { generator, uniform } from "../../lib/models/random.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-adapters-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const sizes = { vocabSize: 90, hiddenSize: 32, intermediateSize: 48, numHiddenLayers: 2, numAttentionHeads: 4 };
const llama = () =>
  createModel(
    { modelType: "llama", ...sizes, numKeyValueHeads: 2, maxPositionEmbeddings: 64, tieWordEmbeddings: false },
    { seed: 5 },
  );
const gpt2 = () => createModel({ modelType: "gpt2", ...sizes, maxPositionEmbeddings: 64 }, { seed: 5 });

/** Fills the adapter with non-zero updates, as after training. */
async function disturb(base: LanguageModel, name: string, seed: number) {
  for (const [i, t] of adapterTensors(base.model.adapters.get(name)!).entries()) {
    const tensor = base.model.weight(t);
    await tensor.write(uniform(tensor.elements, 0.3, generator(seed + i)));
  }
}

const prompt = [3, 14, 15, 9, 26, 5];
const logitsOf = async (base: LanguageModel, adapters?: readonly string[]) =>
  (await base.logits(prompt, { last: true, ...(adapters && { adapters }) }))[0]!;
const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...a);

describe.each([
  ["llama", llama],
  ["gpt2", gpt2],
])("%s", (kind, make) => {
  test("a new adapter does not change outputs; calls select one adapter, several stacked, or none", async () => {
    await using base = make();
    const plain = await logitsOf(base);
    await base.model.addAdapter("one", { r: 4, alpha: 8 }, 1);
    expect(await logitsOf(base)).toEqual(plain);
    await disturb(base, "one", 10);
    await base.model.addAdapter("two", { r: 2, alpha: 4 }, 2);
    await disturb(base, "two", 90);
    const [one, two] = [await logitsOf(base, ["one"]), await logitsOf(base, ["two"])];
    const both = await logitsOf(base, ["one", "two"]);
    expect(await logitsOf(base)).toEqual(both); // the active adapters
    expect(await logitsOf(base, [])).toEqual(plain);
    for (const [a, b] of [
      [plain, one],
      [plain, two],
      [one, two],
      [both, one],
      [both, two],
    ] as const)
      expect(distance(a, b)).toBeGreaterThan(0.01);
    // Concurrent calls, each with different adapters.
    const greedy = { maxTokens: 12, temperature: 0, ignoreEos: true };
    const alone = [];
    for (const adapters of [["one"], ["two"], []])
      alone.push((await base.complete(prompt, { ...greedy, adapters })).tokens);
    const together = await Promise.all(
      [["one"], ["two"], []].map(async (adapters) => (await base.complete(prompt, { ...greedy, adapters })).tokens),
    );
    expect(together).toEqual(alone);
    using session = base.session({ adapters: ["two"] });
    expect((await session.complete(prompt, greedy)).tokens).toEqual(alone[1]);
    base.model.setActiveAdapters(["two"]);
    expect(await logitsOf(base)).toEqual(two);
    base.model.removeAdapter("two");
    expect(await logitsOf(base)).toEqual(plain);
    await expect(base.complete(prompt, { adapters: ["two"] })).rejects.toThrow(
      /adapter: expected an adapter of this model \(one\), got "two"/,
    );
  });

  test("saves PEFT's layout, which loads with the same outputs both as a model and onto a base", async () => {
    await using base = make();
    await base.save(join(folder, `${kind}-base`));
    await using known = await LanguageModel.load(join(folder, `${kind}-base`));
    await known.model.addAdapter("mine", {
      r: 3,
      alpha: 5,
      useRslora: true,
      modulesToSave: kind === "llama" ? ["lm_head"] : ["ln_f"],
    });
    await disturb(known, "mine", 7);
    const expected = await logitsOf(known);
    const out = join(folder, `${kind}-adapter`);
    await known.saveAdapter(out, { name: "mine" });
    const config = JSON.parse(await readFile(join(out, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({
      peft_type: "LORA",
      r: 3,
      lora_alpha: 5,
      use_rslora: true,
      fan_in_fan_out: kind === "gpt2",
      base_model_name_or_path: join(folder, `${kind}-base`),
      bias: "none",
    });
    expect(config.target_modules.sort()).toEqual(
      kind === "gpt2"
        ? ["c_attn", "c_fc", "c_proj"]
        : ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"],
    );
    const { entries, file } = openSafetensors(join(out, "adapter_model.safetensors"));
    const first = kind === "gpt2" ? "transformer.h.0.attn.c_attn" : "model.layers.0.self_attn.q_proj";
    expect(entries.get(`base_model.model.${first}.lora_A.weight`)).toMatchObject({
      storedDtype: "F32",
      shape: [3, 32],
    });
    expect(entries.get(`base_model.model.${first}.lora_B.weight`)).toMatchObject({
      shape: [kind === "gpt2" ? 96 : 32, 3],
    });
    expect(entries.has(`base_model.model.${kind === "gpt2" ? "transformer.ln_f" : "lm_head"}.weight`)).toBe(true);
    file.close();

    await using whole = await LanguageModel.load(out);
    expect(await logitsOf(whole)).toEqual(expected);
    await using fresh = make();
    await fresh.loadAdapter(out, { name: "theirs" });
    expect(await logitsOf(fresh)).toEqual(expected);
    // Merged and written as an ordinary model.
    await fresh.model.mergeAdapter("theirs");
    await fresh.save(join(folder, `${kind}-merged`));
    await using merged = await LanguageModel.load(join(folder, `${kind}-merged`));
    expect(distance(expected, await logitsOf(merged))).toBeLessThan(1e-5);
    // In 16 bits the merged weights are rounded; a separate update is not.
    await using half = await LanguageModel.load(join(folder, `${kind}-base`), { dtype: "bf16" });
    await half.loadAdapter(out);
    const unmerged = await logitsOf(half);
    await half.model.mergeAdapter("default");
    expect(distance(unmerged, await logitsOf(half))).toBeLessThan(0.02);
    half.model.unmergeAdapters();
    expect(await logitsOf(half)).toEqual(unmerged);
  });
});

describe("adapters in files", () => {
  const written = async (name: string, change: (config: Record<string, unknown>) => void) => {
    await using base = llama();
    await base.model.addAdapter("mine", { r: 2, targetModules: ["q_proj"] });
    const out = join(folder, name);
    await base.saveAdapter(out, { name: "mine" });
    const path = join(out, "adapter_config.json");
    const config = JSON.parse(await readFile(path, "utf8"));
    change(config);
    await writeFile(path, JSON.stringify(config));
    return out;
  };
  const cases: [string, (config: Record<string, unknown>) => void, RegExp][] = [
    ["dora", (c) => Object.assign(c, { use_dora: true }), /use_dora: true is not supported/],
    ["other", (c) => Object.assign(c, { peft_type: "IA3" }), /peft_type: expected LORA, got "IA3"/],
    ["rank", (c) => Object.assign(c, { r: -1 }), /r: expected a whole number of at least 1, got -1/],
    ["bias", (c) => Object.assign(c, { bias: "all" }), /bias: "all" is not supported/],
    [
      "pissa",
      (c) => Object.assign(c, { init_lora_weights: "pissa_niter_4" }),
      /init_lora_weights: "pissa_niter_4" is not/,
    ],
    ["olora", (c) => Object.assign(c, { init_lora_weights: "olora" }), /init_lora_weights: "olora" is not supported/],
    [
      "pattern",
      (c) => Object.assign(c, { alpha_pattern: { "(?!.*0).*q_proj": 2 } }),
      /alpha_pattern: expected a regular expression without look-around, .*, got "\(\?!\.\*0\)\.\*q_proj"/,
    ],
    [
      "ranks",
      (c) => Object.assign(c, { rank_pattern: { "q\\b": 2 } }),
      /rank_pattern: expected a regular expression without \\b, got/,
    ],
  ];
  test.each(cases)("loadAdapter names the field that does not fit: %s", async (name, change, message) => {
    const out = await written(name, change);
    await using base = llama();
    await expect(base.loadAdapter(out)).rejects.toThrow(message);
    expect(base.model.adapters.size).toBe(0);
  });

  test("accepts the initialization eva, which leaves the base weights as they are", async () => {
    const out = await written("eva", (c) => Object.assign(c, { init_lora_weights: "eva" }));
    await using base = llama();
    await base.loadAdapter(out);
    expect(base.model.activeAdapters).toEqual(["default"]);
  });

  test("merges and unmerges a saved q_proj on a GGUF base, whose rows have another order", async () => {
    await using base = llama();
    await base.save(join(folder, "ordered-base"));
    const path = join(folder, "ordered.gguf");
    await convertModel(join(folder, "ordered-base"), path);
    await base.model.addAdapter("mine", { r: 2, targetModules: ["v_proj"], modulesToSave: ["q_proj"] });
    await disturb(base, "mine", 31);
    const expected = await logitsOf(base);
    await base.saveAdapter(join(folder, "ordered-adapter"), { name: "mine" });
    await using loaded = await LanguageModel.load(path);
    const plain = await logitsOf(loaded);
    await using merged = await LanguageModel.load(path);
    await merged.loadAdapter(join(folder, "ordered-adapter"));
    await merged.model.mergeAdapter("default");
    expect(distance(expected, await logitsOf(merged))).toBeLessThan(1e-5);
    merged.model.unmergeAdapters();
    expect(distance(plain, await logitsOf(merged, []))).toBeLessThan(1e-5);
  });

  test("convertModel merges an adapter into the base it names, or into the base option", async () => {
    await using base = llama();
    await base.save(join(folder, "convert-base"));
    await base.model.addAdapter("mine", { r: 2, alpha: 4 });
    await disturb(base, "mine", 21);
    const expected = await logitsOf(base);
    base.path = join(folder, "convert-base");
    const adapter = join(folder, "convert-adapter");
    await base.saveAdapter(adapter, { name: "mine" });
    const lost = join(folder, "convert-lost");
    base.path = "someone/some-model";
    await base.saveAdapter(lost, { name: "mine" });
    const before = (await readdir(folder)).sort();
    const merged = ["merged", "merged.gguf", "merged-f32"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const { tensors } = await convertModel(adapter, merged[0]);
    expect(tensors).toBe(base.model.languageWeightNames.length);
    await convertModel(lost, merged[1], { base: join(folder, "convert-base") });
    base.path = join(folder, "convert-base");
    await convertModel(lost, merged[2], { base: base.path, dtype: "f32" });
    for (const path of merged) {
      await using loaded = await LanguageModel.load(path);
      expect(distance(await logitsOf(loaded), expected), path).toBeLessThan(1e-5);
    }
    expect((await readdir(folder)).sort()).toEqual([...before, "merged", "merged.gguf", "merged-f32"].sort());
    await expect(convertModel(lost, merged[0])).rejects.toThrow(
      /base_model_name_or_path: someone\/some-model: cannot be opened: .* \(heddle pull someone\/some-model fetches it\)/,
    );
    await expect(convertModel(lost, merged[0], { base: adapter })).rejects.toThrow(
      "base: expected a model, got another",
    );
    await expect(convertModel(base.path, merged[0], { base: base.path })).rejects.toThrow(
      "base: expected no value unless the input is an adapter folder",
    );
    await expect(convertModel(adapter, merged[0], { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  });

  test("loading rejects a missing base, another model, a name in use and a target without a layer", async () => {
    const out = await written("lost", (c) => Object.assign(c, { base_model_name_or_path: "someone/some-model" }));
    await expect(LanguageModel.load(out)).rejects.toThrow(
      /base_model_name_or_path: someone\/some-model: cannot be opened: .* fetches it\); or load the base model and then/,
    );
    await using other = createModel({ modelType: "llama", ...sizes, hiddenSize: 16, maxPositionEmbeddings: 64 });
    await expect(other.loadAdapter(out)).rejects.toThrow(
      /q_proj: expected A \(r, 16\) and B \(16, r\), got \(2, 32\) and \(32, 2\)/,
    );
    await using base = llama();
    await base.loadAdapter(out);
    await expect(base.loadAdapter(out)).rejects.toThrow(/adapter: expected a name that is free, got "default"/);
    await expect(base.model.addAdapter("x", { targetModules: ["q_prj"] })).rejects.toThrow(
      /targetModules: expected q_proj, got "q_prj"/,
    );
    await expect(base.model.addAdapter("x", { rank: 2 } as object)).rejects.toThrow(
      /lora\.rank: expected .*got an unknown one/,
    );
    await expect(base.model.addAdapter("../x")).rejects.toThrow(/adapter: expected a name of 1 to 64 letters/);
    await using twoLayers = gpt2();
    await expect(twoLayers.loadAdapter(out)).rejects.toThrow(/expected low-rank updates of this model's linear layers/);
  });

  test("a round trip keeps alphas that differ by layer", async () => {
    const out = await written("patterns", (c) =>
      Object.assign(c, { alpha_pattern: { "layers.1.self_attn.q_proj": 40 } }),
    );
    await using base = llama();
    await base.loadAdapter(out);
    const scales = [...base.model.adapters.get("default")!.layers.values()].map((l) => l.scale);
    expect(scales).toEqual([2, 20]);
    const again = join(folder, "patterns-again");
    await base.saveAdapter(again);
    const config = JSON.parse(await readFile(join(again, "adapter_config.json"), "utf8"));
    expect(config.alpha_pattern).toEqual({ "model.layers.1.self_attn.q_proj": 40 });
    await using second = llama();
    await second.loadAdapter(again);
    expect([...second.model.adapters.get("default")!.layers.values()].map((l) => l.scale)).toEqual([2, 20]);
  });

  test.each([
    ["the first key that matches", { q_proj: 40, "layers.1.self_attn.q_proj": 8 }, [20, 20]],
    ["regular expressions", { "layers\\.\\d\\.self_attn\\.q_proj": 40 }, [20, 20]],
    ["sets of layers", { "layers\\.[1-9]\\.self_attn\\.(q|k)_proj": 40 }, [2, 20]],
    ["whole names only after ^", { "^layers.0.self_attn.q_proj": 8, "^model.layers.1.self_attn.q_proj": 40 }, [2, 20]],
  ])("takes alphas from a pattern as PEFT does: %s", async (name, pattern, expected) => {
    const out = await written(`pattern ${name}`, (c) => Object.assign(c, { alpha_pattern: pattern }));
    await using base = llama();
    await base.loadAdapter(out);
    expect([...base.model.adapters.get("default")!.layers.values()].map((l) => l.scale)).toEqual(expected);
  });

  test("resolves a regular expression in target_modules to the layers that have weights", async () => {
    const target = "(?!.*\\.1\\.).*\\.(q|v)_proj|.*q_proj";
    const out = await written("expression", (c) => Object.assign(c, { target_modules: target }));
    expect((await readAdapterConfig(out)).targetModules).toBe(target);
    await using base = llama();
    await base.loadAdapter(out);
    expect(base.model.adapters.get("default")!.config.targetModules).toEqual([
      "model.layers.0.self_attn.q_proj",
      "model.layers.1.self_attn.q_proj",
    ]);
  });
});
