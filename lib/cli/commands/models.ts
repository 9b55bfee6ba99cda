import { formatBytes } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import { readAdapterConfig } from "../../formats/adapter-config.ts";
import { openModelFiles } from "../../formats/model-files.ts";
import { cachedModels, removeModel } from "../../hub/cached-models.ts";
import { cacheFolder } from "../../hub/environment.ts";
import { ollamaFolder, ollamaModels } from "../../hub/ollama.ts";
import { missingPart, selectFiles } from "../../hub/repository-files.ts";
import { pathOf } from "../../hub/resolve.ts";
import { filesBelow } from "../../hub/snapshot.ts";
import { modelWeights } from "../../models/heads.ts";
import { defineCommand } from "../command.ts";
import { oneLine } from "../terminal/output.ts";
import { columns } from "../usage.ts";

export const command = defineCommand({
  about:
    "Lists the models in the cache that Hugging Face's tools share, and those of Ollama: name, size, kind, and the reason if heddle cannot load a model. rm removes a model from the cache; with @REVISION only that revision.",
  positionals: { usage: "[rm MODEL...]", least: 0, most: 1000 },
  options: {},
  without: { model: "no model", device: "no device", threads: "no threads", profile: "no profile" },
  async run({ positionals: [verb, ...names], out }) {
    if (verb === undefined) {
      const found = await listModels();
      if (out.json) out.object(found);
      else out.line(screen(found));
      return;
    }
    if (verb !== "rm" || names.length === 0)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `arguments: expected none, or rm and names, got ${[verb, ...names].map((word) => JSON.stringify(word)).join(" ")}`,
      );
    for (const name of names) {
      const removed = await removeModel(name);
      if (out.json) out.object(removed);
      else out.line(`${name}: removed, ${formatBytes(removed.bytes)} freed`);
    }
  },
});

type Listed = Awaited<ReturnType<typeof listModels>>;

async function listModels() {
  const models = [];
  for (const { name, commit, refs, folder, bytes } of await cachedModels())
    models.push({ name, source: "cache", commit, refs, bytes, ...(await describeSnapshot(name, folder)) });
  for (const found of await ollamaModels()) {
    if ("problem" in found) models.push({ source: "ollama", kind: null, loads: false, ...found });
    else models.push({ ...found, source: "ollama", ...(await describeFiles(found.path, "gguf")) });
  }
  return { cache: cacheFolder(), ollama: await ollamaFolder(), models };
}

interface Description {
  path?: string;
  kind: string | null;
  /** The model type, such as llama. */
  type?: string;
  loads: boolean;
  problem?: string;
}

/** Returns the kind and model type of a snapshot, and whether heddle can read its headers. */
async function describeSnapshot(name: string, folder: string): Promise<Description> {
  try {
    const selection = selectFiles(await filesBelow(folder), { name });
    const path = pathOf(folder, selection);
    const missing = missingPart(selection.files);
    if (missing !== undefined)
      return { path, kind: selection.kind, loads: false, problem: `${missing} is missing (heddle pull fetches it)` };
    return { path, ...(await describeFiles(path, selection.kind)) };
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    return { path: folder, kind: null, loads: false, problem: error.message };
  }
}

async function describeFiles(path: string, kind: string): Promise<Description> {
  try {
    if (kind === "tokenizer") return { kind, loads: false, problem: "a tokenizer without weights" };
    if (kind === "adapter") {
      const { baseModel } = await readAdapterConfig(path);
      return { kind, loads: true, ...(baseModel !== undefined && { type: `on ${baseModel}` }) };
    }
    const files = await openModelFiles(path);
    try {
      const { config, weights } = files;
      // `tensor` throws for a type that heddle does not compute with.
      for (const [weight] of modelWeights(config)) if (weights.has(weight)) weights.tensor(weight);
      return { kind, type: config.modelType, loads: true };
    } finally {
      files.close();
    }
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    return { kind, loads: false, problem: error.message };
  }
}

function screen({ cache, ollama, models }: Listed): string {
  if (models.length === 0) return `No models in ${cache} or ${ollama}. heddle pull OWNER/NAME fetches one.`;
  const rows = models.map(({ name, ...model }) => {
    const facts = [
      "bytes" in model ? formatBytes(model.bytes) : undefined,
      model.kind ?? undefined,
      "type" in model ? model.type : undefined,
      "commit" in model ? `commit ${model.commit.slice(0, 12)}` : undefined,
      "problem" in model && model.problem !== undefined ? `does not load: ${model.problem}` : undefined,
    ];
    return [oneLine(name), oneLine(facts.filter((fact) => fact !== undefined).join(", "))] as const;
  });
  return columns(rows, Math.min(48, Math.max(...rows.map(([name]) => name.length))));
}
