// Listing and removing models of the cache, and loading those of Ollama.
import { copyFileSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryName } from "../../lib/core/temp-files.ts";
import { cachedModels, removeModel } from "../../lib/hub/cached-models.ts";
import { ollamaModels } from "../../lib/hub/ollama.ts";
import { convertModel, LanguageModel, pullModel } from "../../lib/index.ts";
import { failureOf } from "../inference/helpers.ts";
import { bytes, cache, hub, modelFiles, root } from "./helpers.ts";

const weights = { content: bytes(1000), lfs: true };
const names = async () => (await cachedModels()).map(({ name }) => name);

/** Fetches two commits of a model that share their weights. @returns the first one */
async function twoRevisions(): Promise<string> {
  const first = hub.add("owner/two", { "config.json": "{}", "model.safetensors": weights });
  await pullModel("owner/two");
  hub.add("owner/two", { "config.json": '{"n":2}', "model.safetensors": weights });
  await pullModel("owner/two");
  return first;
}

describe("the models of the cache", () => {
  test("are listed by revision, each with its size", async () => {
    const first = await twoRevisions();
    mkdirSync(join(cache, "datasets--owner--data", "snapshots"), { recursive: true });
    mkdirSync(join(cache, ".locks"));
    expect(await cachedModels()).toEqual([
      expect.objectContaining({ name: expect.stringMatching(/^owner\/two/), bytes: expect.any(Number) }),
      expect.objectContaining({ name: expect.stringMatching(/^owner\/two/) }),
    ]);
    expect((await names()).sort()).toEqual(["owner/two", `owner/two@${first.slice(0, 12)}`]);
    const sizes = new Map((await cachedModels()).map(({ name, bytes }) => [name, bytes]));
    expect(sizes.get("owner/two")).toBe(1007);
    expect(sizes.get(`owner/two@${first.slice(0, 12)}`)).toBe(1002);
  });

  test("are removed by revision, without the files of other revisions", async () => {
    const first = await twoRevisions();
    expect(await removeModel(`owner/two@${first}`)).toEqual({ name: `owner/two@${first}`, bytes: 2 });
    expect(await names()).toEqual(["owner/two"]);
    const { path, fetched } = await pullModel("owner/two");
    expect(fetched).toBe(0);
    expect(statSync(join(path, "model.safetensors")).size).toBe(1000);
    expect(await removeModel("owner/two")).toEqual({ name: "owner/two", bytes: 1007 });
    expect(await readdir(cache)).toEqual([]);
  });

  test("are not removed by revision if the files of another revision cannot all be listed", async () => {
    const first = await twoRevisions();
    const folder = join(cache, "models--owner--two");
    const deep = join(folder, "snapshots", hub.commitOf("owner/two"), ...Array.from({ length: 18 }, () => "d"));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(folder, "blobs", "deep"), "deep");
    symlinkSync(join(folder, "blobs", "deep"), join(deep, "file"));
    expect(await failureOf(() => removeModel(`owner/two@${first}`))).toEqual({
      code: "IO",
      message: expect.stringMatching(/snapshots\/[0-9a-f]{40}: cannot list all files, so no revision is removed/),
    });
    expect(await names()).toHaveLength(2);
    expect(statSync(join(deep, "file")).size).toBe(4);
    await removeModel("owner/two");
    expect(await readdir(cache)).toEqual([]);
  });

  test("are removed with the leftovers of an earlier removal whose process was killed", async () => {
    const first = await twoRevisions();
    const ended = temporaryName(".heddle-removed").replace(/\.\d+(-\w+)?(?=\.[0-9a-f]{8}$)/, ".4194305");
    const snapshots = join(cache, "models--owner--two", "snapshots");
    for (const place of [cache, snapshots]) mkdirSync(join(place, ended));
    await removeModel(`owner/two@${first}`);
    expect(await readdir(cache)).toEqual(["models--owner--two"]);
    expect(await readdir(snapshots)).toEqual([hub.commitOf("owner/two")]);
  });

  test("are not removed for an invalid or unknown name", async () => {
    writeFileSync(join(root, "precious"), "x");
    for (const name of ["../precious", "owner/../..", "/etc", "a/b/c", "owner/x:Q8_0", "ollama:x"])
      expect(await failureOf(() => removeModel(name)), name).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(existsSync(join(root, "precious"))).toBe(true);
    expect(await failureOf(() => removeModel("owner/none"))).toEqual({
      code: "NOT_FOUND",
      message: `owner/none: no model of this name in ${cache}`,
    });
    await twoRevisions();
    expect(await failureOf(() => removeModel("owner/two@v7"))).toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/^owner\/two@v7: revision v7 is not in /),
    });
  });
});

describe("Ollama's models", () => {
  const digest = "ab".repeat(32);

  /** Writes a manifest, and copies the file `blob` to the digest's blob if given. */
  function addManifest(path: string, layers: object[], blob?: string): string {
    const folder = join(root, `ollama-${path.replaceAll("/", "-")}`);
    process.env.OLLAMA_MODELS = folder;
    mkdirSync(join(folder, "blobs"), { recursive: true });
    const manifest = join(folder, "manifests", path);
    mkdirSync(join(manifest, ".."), { recursive: true });
    writeFileSync(manifest, JSON.stringify({ schemaVersion: 2, layers }));
    if (blob) copyFileSync(blob, join(folder, "blobs", `sha256-${digest}`));
    return folder;
  }
  const layer = (more: object = {}) => ({
    mediaType: "application/vnd.ollama.image.model",
    digest: `sha256:${digest}`,
    size: 5,
    ...more,
  });

  test("load by their names, and are listed", async () => {
    await modelFiles();
    const gguf = join(root, "for-ollama.gguf");
    await convertModel(join(root, "model"), gguf);
    const other = { mediaType: "application/vnd.ollama.image.template", digest: `sha256:${"c".repeat(64)}`, size: 1 };
    const folder = addManifest("registry.ollama.ai/library/tiny/latest", [layer(), other], gguf);
    for (const name of ["ollama:tiny", "ollama:tiny:latest", "ollama:library/tiny"]) {
      await using model = await LanguageModel.load(name);
      expect(model.path).toBe(join(folder, "blobs", `sha256-${digest}`));
    }
    expect(await ollamaModels()).toMatchObject([{ name: "ollama:tiny:latest", bytes: 5 }]);
    expect(await failureOf(() => LanguageModel.load("ollama:tiny:7b"))).toEqual({
      code: "NOT_FOUND",
      message: `ollama:tiny:7b: no model of this name in ${folder} (ollama pull fetches it)`,
    });
  });

  test.each<[string, object[], string, RegExp]>([
    [
      "a digest that is a path",
      [layer({ digest: "sha256:../../../../etc/passwd" })],
      "INVALID_FILE",
      /digest: expected sha256: and 64/,
    ],
    ["a blob that is missing", [layer()], "NOT_FOUND", /the model's GGUF file is missing: /],
    [
      "an adapter",
      [layer(), layer({ mediaType: "application/vnd.ollama.image.adapter" })],
      "UNSUPPORTED",
      /without adapters/,
    ],
    ["no model", [], "UNSUPPORTED", /expected one layer with a GGUF model, got 0$/],
  ])("are refused with %s", async (_, layers, code, message) => {
    addManifest("registry.ollama.ai/library/bad/latest", layers);
    const expected = { code, message: expect.stringMatching(message) };
    expect(await failureOf(() => LanguageModel.load("ollama:bad"))).toEqual(expected);
    expect(await ollamaModels()).toEqual([{ name: "ollama:bad:latest", problem: expect.stringMatching(message) }]);
  });

  test("are rejected if their names lead out of the folder", async () => {
    for (const name of ["ollama:", "ollama:../x", "ollama:a/b/c/d", "ollama:x:../y", "ollama:..", "ollama:x:.."])
      expect((await failureOf(() => LanguageModel.load(name))).code, name).toBe("INVALID_ARGUMENT");
  });
});
