// Pulls from a real HTTP server. They fetch the needed files into the layout of the cache, and the model loads by its name.
import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { removeModel } from "../../lib/hub/cached-models.ts";
import { resolveModel } from "../../lib/hub/resolve.ts";
import { filesBelow } from "../../lib/hub/snapshot.ts";
import { LanguageModel, type PullProgress, pullModel, Tokenizer } from "../../lib/index.ts";
import { failureOf } from "../inference/helpers.ts";
import { bytes, cache, folderFiles, hub, modelFiles, root } from "./helpers.ts";
import { digestOf } from "./hub-server.ts";

const prompt = "The cat";
const options = { maxTokens: 5, temperature: 0, ignoreEos: true };

describe("a pull", () => {
  test("fetches a model that then loads by its name, without a request", async () => {
    const files = await modelFiles();
    const commit = hub.add("owner/tiny", { ...files, "README.md": "# tiny", "pytorch_model.bin": "pickles" });
    const pulled = await pullModel("owner/tiny");
    expect(pulled).toEqual({
      name: "owner/tiny",
      revision: "main",
      commit,
      path: join(cache, "models--owner--tiny", "snapshots", commit),
      kind: "safetensors",
      files: expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]),
      bytes: pulled.fetched,
      fetched: pulled.bytes,
    });
    expect(pulled.files).not.toContain("README.md");
    expect(pulled.files).not.toContain("pytorch_model.bin");
    const asked = hub.requests.length;
    process.env.HF_HUB_OFFLINE = "1";
    await using byName = await LanguageModel.load("owner/tiny");
    await using byPath = await LanguageModel.load(join(root, "model"));
    expect((await byName.complete(prompt, options)).text).toBe((await byPath.complete(prompt, options)).text);
    for (const name of ["owner/tiny@main", `owner/tiny@${commit}`, `owner/tiny@${commit.slice(0, 8)}`])
      await (await LanguageModel.load(name)).dispose();
    expect((await Tokenizer.load("owner/tiny")).encode(prompt)).toEqual(byName.tokenizer!.encode(prompt));
    expect(hub.requests.length).toBe(asked);
  });

  test("creates the layout of huggingface_hub: relative links to blobs named by their digests", async () => {
    const large = { content: bytes(5000), lfs: true };
    const small = { content: Buffer.from('{"a": 1}') };
    const commit = hub.add("owner/layout", { "config.json": small, "model.safetensors": large });
    await pullModel("owner/layout@v1");
    const folder = join(cache, "models--owner--layout");
    expect((await readdir(folder)).sort()).toEqual([".no_exist", "blobs", "refs", "snapshots"]);
    expect((await readdir(join(folder, "blobs"))).sort()).toEqual([digestOf(large), digestOf(small)].sort());
    expect(readFileSync(join(folder, "refs", "v1"), "utf8")).toBe(commit);
    const snapshot = join(folder, "snapshots", commit);
    expect(readlinkSync(join(snapshot, "model.safetensors"))).toBe(join("..", "..", "blobs", digestOf(large)));
    expect(readFileSync(join(snapshot, "model.safetensors"))).toEqual(large.content);
    expect(lstatSync(join(folder, "blobs", digestOf(large))).isFile()).toBe(true);
  });

  test("finds a snapshot that Python's tools have made, also by a revision with slashes", async () => {
    const files = await modelFiles();
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const folder = join(cache, "models--owner--python");
    await mkdir(join(folder, "refs", "refs", "pr"), { recursive: true });
    await mkdir(join(folder, "snapshots", commit), { recursive: true });
    await writeFile(join(folder, "refs", "main"), commit);
    await writeFile(join(folder, "refs", "refs", "pr", "1"), commit);
    for (const [name, { content }] of Object.entries(files))
      await writeFile(join(folder, "snapshots", commit, name), content);
    for (const name of ["owner/python", "owner/python@refs/pr/1"]) {
      await using model = await LanguageModel.load(name);
      expect((await model.complete(prompt, options)).tokens).toHaveLength(5);
    }
    expect(hub.requests).toEqual([]);
  });

  test("fetches no file twice, and for a new commit only the changed files", async () => {
    const weights = { content: bytes(3000), lfs: true };
    hub.add("owner/again", { "config.json": "{}", "model.safetensors": weights });
    await pullModel("owner/again");
    const asked = hub.fileRequests;
    expect(await pullModel("owner/again")).toMatchObject({ fetched: 0 });
    expect(hub.fileRequests).toBe(asked);
    const commit = hub.add("owner/again", { "config.json": '{"b":2}', "model.safetensors": weights });
    expect(await pullModel("owner/again")).toMatchObject({ fetched: 7, commit });
    expect((await readdir(join(cache, "models--owner--again", "snapshots"))).length).toBe(2);
    expect(await filesBelow(join(cache, "models--owner--again", "snapshots", commit))).toEqual([
      "config.json",
      "model.safetensors",
    ]);
  });

  test("reads a list of files that the Hub sends in pages", async () => {
    hub.pageSize = 2;
    hub.add("owner/pages", { a: "1", b: "2", c: "3", "config.json": "{}", "model.safetensors": "x" });
    expect((await pullModel("owner/pages")).files).toEqual(["config.json", "model.safetensors"]);
  });

  test("fetches the files that match patterns", async () => {
    hub.add("owner/many", { "a-Q4_K_M.gguf": "4", "a-Q8_0.gguf": "8", "deep/b-Q8_0.gguf": "88", "README.md": "r" });
    const { files, path, kind } = await pullModel("owner/many", { include: ["*Q8_0.gguf", "README*"] });
    expect(files.sort()).toEqual(["README.md", "a-Q8_0.gguf", "deep/b-Q8_0.gguf"]);
    expect(kind).toBeUndefined();
    expect(path).toMatch(/snapshots\/[0-9a-f]{40}$/);
    expect((await pullModel("owner/many", { include: "a-Q4_K_M.gguf" })).files).toEqual(["a-Q4_K_M.gguf"]);
    expect(await failureOf(() => pullModel("owner/many", { include: "*.safetensors" }))).toEqual({
      code: "NOT_FOUND",
      message: expect.stringMatching(
        /^include: expected a pattern of files of owner\/many, got \*\.safetensors; it has a-/,
      ),
    });
  });

  test("chooses one GGUF file, which loads by its name and tag", async () => {
    const folder = join(root, "model");
    await modelFiles();
    const { convertModel } = await import("../../lib/index.ts");
    const [f16, q8] = [join(root, "tiny-F16.gguf"), join(root, "tiny-Q8_0.gguf")];
    await convertModel(folder, f16, { dtype: "f16" });
    await convertModel(folder, q8, { dtype: "q8_0" });
    const file = (path: string) => ({ content: readFileSync(path), lfs: true });
    hub.add("owner/tiny-GGUF", { "gguf/tiny-F16.gguf": file(f16), "tiny-Q8_0.gguf": file(q8), "mmproj-F16.gguf": "m" });
    expect(await pullModel("owner/tiny-GGUF")).toMatchObject({ kind: "gguf", files: ["tiny-Q8_0.gguf"] });
    await (await LanguageModel.load("owner/tiny-GGUF")).dispose();
    expect(await failureOf(() => LanguageModel.load("owner/tiny-GGUF:F16"))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message:
        "owner/tiny-GGUF:F16: expected one GGUF model for :F16, got Q8_0 in the cache (heddle pull owner/tiny-GGUF:F16 fetches it)",
    });
    const { path } = await pullModel("owner/tiny-GGUF:f16");
    expect(path).toMatch(/gguf\/tiny-F16\.gguf$/);
    await using loaded = await LanguageModel.load("owner/tiny-GGUF:F16");
    expect(loaded.path).toBe(path);
    expect((await Tokenizer.load("owner/tiny-GGUF:F16")).count(prompt)).toBe(loaded.tokenizer!.count(prompt));
  });

  test("reports progress up to the size of all files", async () => {
    hub.add("owner/progress", { "config.json": "{}", "model.safetensors": { content: bytes(300_000), lfs: true } });
    const seen: PullProgress[] = [];
    await pullModel("owner/progress", { onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toEqual({ loaded: 300_002, total: 300_002 });
    expect(seen.every(({ loaded, total }, i) => total === 300_002 && loaded >= (seen[i - 1]?.loaded ?? 0))).toBe(true);
    expect(new Set(seen.map(({ file }) => file))).toEqual(new Set(["config.json", "model.safetensors", undefined]));
  });

  test("sends the token to the Hub, and not to the storage server that the Hub redirects to", async () => {
    hub.add("owner/private", { "config.json": "{}", "model.safetensors": { content: bytes(100), lfs: true } });
    process.env.HF_TOKEN = "hf_from-variable";
    await pullModel("owner/private");
    expect(new Set(hub.requests.filter(({ where }) => where === "hub").map((r) => r.authorization))).toEqual(
      new Set(["Bearer hf_from-variable"]),
    );
    const stored = hub.requests.filter(({ where }) => where === "storage");
    expect(stored.map((r) => r.authorization)).toEqual([undefined]);
    delete process.env.HF_TOKEN;
    await mkdir(join(root, "home"), { recursive: true });
    await writeFile(join(root, "home", "token"), "from-file\n");
    await pullModel("owner/private");
    expect(hub.requests.at(-1)!.authorization).toBe("Bearer from-file");
    await pullModel("owner/private", { token: "given" });
    expect(hub.requests.at(-1)!.authorization).toBe("Bearer given");
    await rm(join(root, "home", "token"));
  });
});

describe("LanguageModel.load", () => {
  test("fetches only with download: true, and only missing files", async () => {
    hub.add("owner/fetched", await modelFiles());
    expect(await failureOf(() => LanguageModel.load("owner/fetched"))).toEqual({
      code: "NOT_FOUND",
      message: `owner/fetched: cannot be opened: no such file or folder, and no model of this name in ${cache} (heddle pull owner/fetched fetches it)`,
    });
    expect(hub.requests).toEqual([]);
    await pullModel("owner/fetched", { include: "tokenizer*" });
    expect((await Tokenizer.load("owner/fetched")).count(prompt)).toBeGreaterThan(0);
    expect(await failureOf(() => LanguageModel.load("owner/fetched"))).toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/lacks weights \(heddle pull owner\/fetched fetches it\)$/),
    });
    const seen: number[] = [];
    await (
      await LanguageModel.load("owner/fetched", { download: { onProgress: ({ total }) => seen.push(total) } })
    ).dispose();
    expect(seen.length).toBeGreaterThan(0);
    const asked = hub.requests.length;
    await (await LanguageModel.load("owner/fetched", { download: true })).dispose();
    expect(hub.requests.length).toBe(asked);
  });

  test.each<[string, Record<string, string>, string, string, string]>([
    ["another quantization", { "m-Q8_0.gguf": "8", "m-Q4_K_M.gguf": "4" }, "*Q8_0*", ":Q4_K_M", "m-Q4_K_M.gguf"],
    ["only the configuration", { "config.json": "{}", "model.safetensors": "x" }, "config.json", "", ""],
    [
      "weights of another kind",
      { "config.json": "{}", "model.safetensors": "x", "pytorch_model.bin": "y", "tokenizer.json": "{}" },
      "*.bin",
      "",
      "",
    ],
  ])("fetches the rest where the cache has %s", async (_, files, include, tag, main) => {
    hub.add("owner/part", files);
    await pullModel("owner/part", { include });
    const given = `owner/part${tag}`;
    expect((await failureOf(() => resolveModel(given))).message).toMatch(
      /in the cache \(heddle pull owner\/part\S* fetches it\)$/,
    );
    const snapshot = join(cache, "models--owner--part", "snapshots", hub.commitOf("owner/part"));
    expect(await resolveModel(given, { download: true })).toBe(join(snapshot, main));
  });

  test("reports what the repository lacks, and not what the cache lacks", async () => {
    hub.add("owner/pickles", { "config.json": "{}", "pytorch_model.bin": "y" });
    await pullModel("owner/pickles", { include: "*.json" });
    expect(await failureOf(() => resolveModel("owner/pickles", { download: true }))).toEqual({
      code: "UNSUPPORTED",
      message: expect.stringMatching(/got PyTorch weights \(pytorch_model\.bin\)$/),
    });
  });

  test("fetches a tokenizer that the cache lacks", async () => {
    const files = await modelFiles();
    const commit = hub.add("owner/textless", files);
    await pullModel("owner/textless", { include: ["config.json", "*.safetensors"] });
    process.env.HF_HUB_OFFLINE = "1";
    const folder = await resolveModel("owner/textless", { download: true });
    expect(folder).toBe(join(cache, "models--owner--textless", "snapshots", commit));
    expect(await filesBelow(folder)).toEqual(["config.json", "model.safetensors"]);
    delete process.env.HF_HUB_OFFLINE;
    await resolveModel("owner/textless", { download: true });
    expect(await filesBelow(folder)).toContain("tokenizer.json");
    const asked = hub.requests.length;
    await resolveModel("owner/textless", { download: true });
    expect(hub.requests.length).toBe(asked);
  });

  test.each([
    ["by heddle", async () => void (await pullModel("owner/bare"))],
    ["in part", async () => void (await pullModel("owner/bare", { include: ["config.json", "*.safetensors"] }))],
  ])("does not ask the Hub again about a repository without a tokenizer, fetched %s", async (_, fetched) => {
    const { "config.json": config, "model.safetensors": weights } = await modelFiles();
    const commit = hub.add("owner/bare", {
      ...{ "config.json": config!, "model.safetensors": weights! },
      "original/tokenizer.model": "not a file of the model",
    });
    await fetched();
    const asked = hub.requests.length;
    const path = join(cache, "models--owner--bare", "snapshots", commit);
    for (const name of ["owner/bare", `owner/bare@${commit}`])
      expect(await resolveModel(name, { download: true })).toBe(path);
    await using model = await LanguageModel.load("owner/bare", { download: true });
    expect(model.tokenizer).toBeUndefined();
    expect(hub.requests.length).toBe(asked);
    // Hugging Face's tools note missing files in the same way.
    expect(await filesBelow(join(cache, "models--owner--bare", ".no_exist", commit))).toContain("tokenizer.json");
  });

  test("asks the Hub once about a tokenizer that another tool has not fetched", async () => {
    const { "config.json": config, "model.safetensors": weights } = await modelFiles();
    const commit = hub.add("owner/bare", { "config.json": config!, "model.safetensors": weights! });
    await pullModel("owner/bare");
    await rm(join(cache, "models--owner--bare", ".no_exist"), { recursive: true });
    await resolveModel("owner/bare", { download: true });
    const asked = hub.requests.length;
    await resolveModel("owner/bare", { download: true });
    expect(hub.requests.length).toBe(asked);
    await removeModel(`owner/bare@${commit}`);
    expect(await filesBelow(cache)).toEqual([]);
  });

  test("finds repositories whose names end like those of files", async () => {
    const gguf = { content: bytes(100), lfs: true };
    for (const name of ["owner/tiny.GGUF", "owner/tiny.bin", "owner/tiny.txt"]) {
      expect(await resolveModel(name, { download: true })).toBe(name);
      hub.add(name, { "m.gguf": gguf });
      const { path } = await pullModel(name);
      expect(await resolveModel(name)).toBe(path);
    }
    expect(await failureOf(() => LanguageModel.load("owner/none.gguf"))).toMatchObject({
      code: "NOT_FOUND",
      message: expect.not.stringContaining("heddle pull"),
    });
  });

  test("prefers an existing path to a name in the cache", async () => {
    hub.add("owner/both", await modelFiles());
    await pullModel("owner/both");
    const here = process.cwd();
    await mkdir(join(root, "owner", "both"), { recursive: true });
    process.chdir(root);
    try {
      expect(await failureOf(() => LanguageModel.load("owner/both"))).toMatchObject({
        message: expect.stringMatching(/^owner\/both: expected model\.safetensors/),
      });
    } finally {
      process.chdir(here);
    }
  });

  test("finds the base of an adapter by its name", async () => {
    hub.add("owner/base", await modelFiles());
    const folder = join(root, "adapter");
    await using base = await LanguageModel.load(join(root, "model"));
    await base.model.addAdapter("default", { r: 2 });
    await base.saveAdapter(folder);
    const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
    await writeFile(
      join(folder, "adapter_config.json"),
      JSON.stringify({ ...config, base_model_name_or_path: "owner/base" }),
    );
    hub.add("owner/adapter", await folderFiles(folder));
    expect(await pullModel("owner/adapter")).toMatchObject({ kind: "adapter" });
    expect(await failureOf(() => LanguageModel.load("owner/adapter"))).toEqual({
      code: "NOT_FOUND",
      message: expect.stringMatching(
        /adapter_config\.json: base_model_name_or_path: owner\/base: .*\(heddle pull owner\/base fetches it\); or load the base model /,
      ),
    });
    await using both = await LanguageModel.load("owner/adapter", { download: true });
    expect([...both.model.adapters.keys()]).toEqual(["default"]);
    await base.loadAdapter("owner/adapter", { name: "again" });
    expect([...base.model.adapters.keys()]).toEqual(["default", "again"]);
  });

  test("lists the cached revisions in the error for another revision", async () => {
    hub.add("owner/revisions", { "config.json": "{}", "model.safetensors": "x" });
    await pullModel("owner/revisions");
    expect(await failureOf(() => LanguageModel.load("owner/revisions@v2"))).toEqual({
      code: "NOT_FOUND",
      message: expect.stringMatching(
        /and revision v2 is not in .*models--owner--revisions, which has main \(heddle pull /,
      ),
    });
    process.env.HF_HUB_OFFLINE = "1";
    expect((await failureOf(() => LanguageModel.load("owner/none", { download: true }))).message).toContain(
      "(without HF_HUB_OFFLINE, heddle pull owner/none fetches it)",
    );
    expect(await failureOf(() => pullModel("owner/none"))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^HF_HUB_OFFLINE: /),
    });
    expect(hub.requests.filter(({ path }) => path.includes("none"))).toEqual([]);
  });
});
