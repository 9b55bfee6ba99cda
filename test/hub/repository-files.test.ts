// Selects the files that heddle needs from a repository's list of files.
import { expect, test } from "vitest";
import { matchesAny } from "../../lib/hub/file-pattern.ts";
import { parseModelName, repositoryOfFolder } from "../../lib/hub/model-name.ts";
import { missingPart, selectFiles } from "../../lib/hub/repository-files.ts";

const select = (...paths: string[]) => {
  const { kind, files } = selectFiles(paths, { name: "o/n" });
  return [kind, ...[...new Set(files)].sort()];
};
const refused = (...paths: string[]): string => {
  try {
    selectFiles(paths, { name: "o/n" });
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`;
  }
  throw new Error("expected a refusal, got none");
};
const shard = (i: number, n = 2) => `model-0000${i}-of-0000${n}.safetensors`;

test("safetensors come with the configuration and the tokenizer, and nothing else", () => {
  const other = ["README.md", "pytorch_model.bin", "onnx/model.onnx", "original/consolidated.pth", "model.gguf"];
  expect(select("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", ...other)).toEqual([
    "safetensors",
    "chat_template.jinja",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
  ]);
  const index = "model.safetensors.index.json";
  expect(select("config.json", index, shard(1), shard(2), "consolidated.safetensors")).toEqual([
    "safetensors",
    "config.json",
    shard(1),
    shard(2),
    index,
  ]);
  expect(select("config.json", "weights.safetensors")).toEqual(["safetensors", "config.json", "weights.safetensors"]);
});

test("sentence-transformers come with their modules", () => {
  const modules = ["modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"];
  expect(select("config.json", "model.safetensors", ...modules, "2_Dense/pytorch_model.bin")).toEqual([
    "safetensors",
    ...["config.json", "model.safetensors", ...modules].sort(),
  ]);
  const early = ["0_Transformer/config.json", "0_Transformer/model.safetensors", "0_Transformer/tokenizer.json"];
  expect(select("modules.json", ...early)).toEqual(["safetensors", ...early, "modules.json"]);
});

test("an adapter comes with its weights", () => {
  expect(select("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "training_args.bin")).toEqual([
    "adapter",
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer.json",
  ]);
  expect(refused("adapter_config.json", "adapter_model.bin")).toMatch(
    /^UNSUPPORTED .*an adapter without adapter_model\.safetensors, with PyTorch/,
  );
});

test("one GGUF model is chosen by its quantization or by a tag, with all of its parts", () => {
  expect(select("a-Q8_0.gguf", "a-Q4_K_M.gguf", "a-F16.gguf", "mmproj-a-F16.gguf", "a.imatrix.gguf")).toEqual([
    "gguf",
    "a-Q4_K_M.gguf",
  ]);
  const parts = ["x/a-Q8_0-00001-of-00002.gguf", "x/a-Q8_0-00002-of-00002.gguf"];
  expect(select("b-IQ1_S.gguf", ...parts)).toEqual(["gguf", ...parts]);
  expect(select("only.gguf", "config.json")).toEqual(["gguf", "only.gguf"]);
  expect(refused("a.gguf", "b.gguf")).toBe(
    "INVALID_ARGUMENT o/n: expected one GGUF model, or a tag (NAME:TAG), got a, b",
  );
  expect(refused("a-Q8_0.gguf", "b-Q8_0.gguf")).toMatch(/got a-Q8_0, b-Q8_0$/);
  const tagged = (tag: string) => selectFiles(["a-Q8_0.gguf", "a-UD-Q4_K_XL.gguf"], { name: "o/n", tag }).main;
  expect(tagged("q8_0")).toBe("a-Q8_0.gguf");
  expect(tagged("UD-Q4_K_XL")).toBe("a-UD-Q4_K_XL.gguf");
});

test("a GGUF file with imatrix in its name can be a model, but importance matrices and projectors are not selected", () => {
  const other = ["M.imatrix.gguf", "x/imatrix.gguf", "g-mmproj-f16.gguf"];
  for (const model of ["M-imatrix-Q4_K_M.gguf", "M-Q4_K_M-imat.gguf", "M-Q4_K_M_imat.gguf", "M.i1-Q4_K_M.gguf"]) {
    expect(select(model, "M-F32.gguf", ...other)).toEqual(["gguf", model]);
    expect(selectFiles([model, "M-Q8_0.gguf"], { name: "o/n", tag: "q4_k_m" }).main).toBe(model);
  }
});

test("GGUF models with equal file names are chosen by folder", () => {
  const main = (tag: string, ...paths: string[]) => selectFiles(paths, { name: "o/n", tag }).main;
  expect(main("b", "a.gguf", "b/a.gguf")).toBe("b/a.gguf");
  expect(main("a", "a.gguf", "b/a.gguf")).toBe("a.gguf");
  expect(main("c", "b/a-Q4_0.gguf", "c/a-Q4_0.gguf")).toBe("c/a-Q4_0.gguf");
  expect(select("Q4_K_M/a.gguf", "Q8_0/a.gguf")).toEqual(["gguf", "Q4_K_M/a.gguf"]);
  expect(refused("a.gguf", "b/a.gguf")).toMatch(/got a, b\/a$/);
});

test("a repository with only a tokenizer gives the tokenizer's files", () => {
  expect(select("tokenizer.json", "tokenizer_config.json", "README.md")).toEqual([
    "tokenizer",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
});

test("a repository of another kind is rejected, and the error names its kind", () => {
  expect(refused("config.json", "pytorch_model.bin")).toBe(
    "UNSUPPORTED o/n: expected safetensors with config.json, or GGUF files, got PyTorch weights (pytorch_model.bin)",
  );
  expect(refused("onnx/model.onnx", "tokenizer.json")).toMatch(/got ONNX \(onnx\/model\.onnx\)$/);
  expect(refused("model_index.json", "unet/model.safetensors")).toMatch(
    /got a diffusers pipeline \(model_index\.json\)$/,
  );
  expect(refused("tf_model.h5", "flax_model.msgpack")).toMatch(/TensorFlow weights \(tf_model\.h5\), Flax weights/);
  expect(refused("model.safetensors")).toMatch(/got safetensors without config\.json \(model\.safetensors\)$/);
  expect(refused()).toMatch(/got an empty repository$/);
  expect(refused("README.md")).toMatch(/got none of these$/);
});

test("a missing part of sharded weights is named", () => {
  expect(missingPart([shard(1), shard(2)])).toBeUndefined();
  expect(missingPart(["config.json", shard(2)])).toBe(shard(1));
  expect(missingPart(["a-00003-of-00003.gguf", "a-00001-of-00003.gguf"])).toBe("a-00002-of-00003.gguf");
  expect(missingPart(["model.safetensors.index.json", "config.json"])).toBe(
    "the shards of model.safetensors.index.json",
  );
});

test("names are parsed, and cache folders are mapped back to names", () => {
  expect(parseModelName("o/n@refs/pr/1:Q8_0")).toEqual({
    repository: "o/n",
    revision: "refs/pr/1",
    tag: "Q8_0",
    given: "o/n@refs/pr/1:Q8_0",
  });
  expect(parseModelName("gpt2")).toMatchObject({ repository: "gpt2", revision: "main" });
  for (const text of ["", ".", "./a", "/a/b", "a/b/c", "a//b", "a/", "~/a", "a b", "a\\b", "o/n@", "o/n@/x", "o/n:"])
    expect(parseModelName(text), text).toBeUndefined();
  expect(repositoryOfFolder("models--o--n")).toBe("o/n");
  expect(repositoryOfFolder("models--gpt2")).toBe("gpt2");
  for (const folder of ["datasets--o--n", "models--", "models--..--..", "version.txt"])
    expect(repositoryOfFolder(folder), folder).toBeUndefined();
});

test("patterns match as in Python's fnmatch, in bounded time", () => {
  expect(matchesAny("deep/a-Q8_0.gguf", ["*Q8_0.gguf"])).toBe(true);
  expect(matchesAny("a.json", ["?.json"])).toBe(true);
  expect(matchesAny("a.json", ["*.jso", "json", "?"])).toBe(false);
  // Checked with fnmatch.fnmatchcase.
  for (const [name, pattern, expected] of [
    ["a-Q4_0.gguf", "*Q[48]_0.gguf", true],
    ["a-Q5_0.gguf", "*Q[48]_0.gguf", false],
    ["a-Q5_0.gguf", "*Q[!48]_0.gguf", true],
    ["model-3.bin", "model-[0-4].bin", true],
    ["model-5.bin", "model-[0-4].bin", false],
    ["model-5.bin", "model-[!0-4].bin", true],
    ["a-c", "a[-]c", true],
    ["a-c", "a[x-]c", true],
    ["abc", "a[a-b-d]c", true],
    ["a]c", "a[]]c", true],
    ["abc", "a[!]]c", true],
    ["abc", "a[c-a]c", false],
    ["abc", "a[!c-a]c", true],
    ["a[c", "a[c", true],
    ["a[]", "a[]", true],
    ["a[!]", "a[!]", true],
    ["\u{1f600}.json", "?.json", true],
  ] as const)
    expect(matchesAny(name, [pattern]), `${name} ${pattern}`).toBe(expected);
  const started = performance.now();
  expect(matchesAny("a".repeat(1000), [`${"a*".repeat(500)}b`])).toBe(false);
  expect(performance.now() - started).toBeLessThan(1000);
});

test("a pattern that ends with a slash matches all files below that folder, as in Hugging Face's tools", () => {
  for (const [path, expected] of [
    ["onnx/model.onnx", true],
    ["onnx/deep/model.onnx", true],
    ["onnx", false],
    ["other/onnx/model.onnx", false],
  ] as const)
    expect(matchesAny(path, ["onnx/"]), path).toBe(expected);
});
