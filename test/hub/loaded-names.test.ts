// The name that a model was loaded by: what a server calls it, and what its adapters call their base.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { servedModels } from "../../lib/cli/options/served-models.ts";
import { convertModel, LanguageModel, pullModel, sft } from "../../lib/index.ts";
import { checkedSources, nameOf } from "../../lib/serve/core/model-source.ts";
import { failureOf, sentences } from "../inference/helpers.ts";
import { folderFiles, hub, modelFiles, root } from "./helpers.ts";

const baseIn = (folder: string) =>
  JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8")).base_model_name_or_path;

async function pullTiny(name: string): Promise<void> {
  hub.add(name, await modelFiles());
  await pullModel(name);
}

describe("a server", () => {
  test("calls a loaded model by the name that it was loaded by", async () => {
    await pullTiny("owner/tiny");
    for (const name of ["owner/tiny", "owner/tiny@main"]) {
      await using model = await LanguageModel.load(name);
      expect(model.name).toBe(name);
      expect(nameOf(model)).toBe(name);
    }
    await using byPath = await LanguageModel.load(join(root, "model"));
    expect({ name: byPath.name, served: nameOf(byPath) }).toEqual({ name: undefined, served: "model" });
  });

  test("calls a model of Ollama by its name", async () => {
    await modelFiles();
    const digest = "ab".repeat(32);
    process.env.OLLAMA_MODELS = join(root, "ollama");
    const folder = join(root, "ollama", "manifests", "registry.ollama.ai", "library", "tiny");
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(root, "ollama", "blobs"));
    const layers = [{ mediaType: "application/vnd.ollama.image.model", digest: `sha256:${digest}`, size: 5 }];
    writeFileSync(join(folder, "latest"), JSON.stringify({ layers }));
    await convertModel(join(root, "model"), join(root, "tiny.gguf"));
    copyFileSync(join(root, "tiny.gguf"), join(root, "ollama", "blobs", `sha256-${digest}`));
    await using model = await LanguageModel.load("ollama:tiny");
    expect(nameOf(model)).toBe("ollama:tiny");
  });

  test("calls models that it loads later by their names, and paths by their last part", () => {
    const paths = ["one/tiny", "two/tiny:Q8_0", "ollama:tiny:1b", "/nowhere/tiny.gguf"];
    const sources = checkedSources(paths.map((path) => ({ path })));
    expect(sources.map(({ name }) => name)).toEqual(["one/tiny", "two/tiny:Q8_0", "ollama:tiny:1b", "tiny"]);
  });

  test("takes several models by their names in the cache", async () => {
    await pullTiny("owner/several");
    const { models } = await servedModels({ model: ["owner/several", `small=${join(root, "model")}`] });
    expect(models).toMatchObject([{ path: "owner/several" }, { name: "small" }]);
    expect(await failureOf(() => servedModels({ model: ["owner/several", "owner/none"] }))).toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/^owner\/none: .*\(heddle pull owner\/none fetches it\)$/),
    });
    expect(await failureOf(() => servedModels({ model: ["owner/several", "/nowhere/x"] }))).toEqual({
      code: "NOT_FOUND",
      message: "model: expected a file, a folder or a name, got /nowhere/x",
    });
  });
});

describe("an adapter's folder", () => {
  test("records the Hub name of its base, and not a path in the cache", async () => {
    await pullTiny("owner/base");
    await using model = await LanguageModel.load("owner/base");
    await model.model.addAdapter("default", { r: 2 });
    const folder = join(root, "saved-adapter");
    await model.saveAdapter(folder);
    expect(baseIn(folder)).toBe("owner/base");
    await using again = await LanguageModel.load(folder);
    expect({ name: again.name, path: again.path }).toEqual({ name: "owner/base", path: model.path });
    await again.saveAdapter(join(root, "saved-again"));
    expect(baseIn(join(root, "saved-again"))).toBe("owner/base");
  });

  test("records the Hub name of its base after training", async () => {
    await pullTiny("owner/trained");
    await using model = await LanguageModel.load("owner/trained");
    const data = sentences.slice(0, 4).map((text) => ({ text }));
    const [adapter, whole] = [join(root, "trained-adapter"), join(root, "trained-whole")];
    await sft(model, { data, maxSteps: 1, lora: { r: 2 }, outputDir: adapter });
    expect(baseIn(adapter)).toBe("owner/trained");
    await sft(model, { data, maxSteps: 1, outputDir: whole });
    expect({ name: model.name, path: model.path }).toEqual({ name: undefined, path: whole });
  });

  test("does not apply its own download patterns to its base", async () => {
    hub.add("owner/patterns-base", await modelFiles());
    await using base = await LanguageModel.load(join(root, "model"));
    await base.model.addAdapter("default", { r: 2 });
    const folder = join(root, "patterns-adapter");
    await base.saveAdapter(folder);
    const config = join(folder, "adapter_config.json");
    const json = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(config, JSON.stringify({ ...json, base_model_name_or_path: "owner/patterns-base" }));
    hub.add("owner/patterns-adapter", await folderFiles(folder));
    await using both = await LanguageModel.load("owner/patterns-adapter", { download: { include: "adapter_*" } });
    expect([...both.model.adapters.keys()]).toEqual(["default"]);
    expect(both.name).toBe("owner/patterns-base");
  });
});
