// How texts become vectors, in the files of sentence-transformers: modules.json, 1_Pooling/config.json.
import { dirname, join } from "node:path";
import { describe, HeddleError } from "../errors.ts";
import type { EmbeddingConfig, ModelConfig } from "./config.ts";
import { exists, makeFolder, readJson, writeFileAtomically } from "./io.ts";

const TYPE = "sentence_transformers.models.";
const MODES = {
  mean: "pooling_mode_mean_tokens",
  last: "pooling_mode_lasttoken",
  first: "pooling_mode_cls_token",
} as const;
/** Ways of pooling that are not provided. */
const REFUSED = ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"];

type Json = Record<string, unknown>;

/**
 * The pooling that a sentence-transformers folder describes; undefined where it is not one.
 * @throws HeddleError IO, INVALID_FILE, UNSUPPORTED for a module or a way of pooling that is not provided
 */
export async function readEmbeddingConfig(folder: string): Promise<EmbeddingConfig | undefined> {
  const path = join(folder, "modules.json");
  if (!(await exists(path))) return undefined;
  const modules = await readJson(path);
  if (!Array.isArray(modules)) throw new HeddleError("INVALID_FILE", `${path}: expected an array of modules`);
  const kinds = modules.map((module: Json | null, i) => {
    const type = module?.type;
    if (typeof type !== "string") throw new HeddleError("INVALID_FILE", `${path}: module ${i}: expected a type`);
    const kind = type.slice(type.lastIndexOf(".") + 1);
    if (!["Transformer", "Pooling", "Normalize"].includes(kind))
      throw new HeddleError(
        "UNSUPPORTED",
        `${path}: expected Transformer, Pooling and Normalize, got ${describe(type)}`,
      );
    return { kind, folder: typeof module?.path === "string" ? module.path : "" };
  });
  const pooling = kinds.find(({ kind }) => kind === "Pooling");
  const normalize = kinds.some(({ kind }) => kind === "Normalize");
  if (!pooling) return { pooling: "mean", normalize };
  // The name of a folder inside this one, nothing else.
  if (!/^[\w.-]+$/.test(pooling.folder) || pooling.folder === "..")
    throw new HeddleError("INVALID_FILE", `${path}: path: expected a folder's name, got ${describe(pooling.folder)}`);
  const file = join(folder, pooling.folder, "config.json");
  const config = await readJson(file);
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new HeddleError("INVALID_FILE", `${file}: expected an object, got ${describe(config)}`);
  const refused = REFUSED.find((key) => (config as Json)[key] === true);
  const modes = (Object.keys(MODES) as (keyof typeof MODES)[]).filter((m) => (config as Json)[MODES[m]] === true);
  if (refused !== undefined || modes.length !== 1)
    throw new HeddleError(
      "UNSUPPORTED",
      `${file}: expected one of ${Object.values(MODES).join(", ")}, got ${refused ?? (modes.map((m) => MODES[m]).join(" and ") || "none")}`,
    );
  return { pooling: modes[0]!, normalize };
}

/** The files of sentence-transformers for a model that embeds, by path inside its folder; none for others. */
export function embeddingFiles(config: ModelConfig): Record<string, string> {
  const { embedding, hiddenSize, maxPositionEmbeddings } = config;
  if (!embedding) return {};
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const modules = [
    { name: "Transformer", path: "" },
    { name: "Pooling", path: "1_Pooling" },
    ...(embedding.normalize ? [{ name: "Normalize", path: "2_Normalize" }] : []),
  ];
  return {
    "modules.json": json(modules.map(({ name, path }, idx) => ({ idx, name: String(idx), path, type: TYPE + name }))),
    "sentence_bert_config.json": json({ max_seq_length: maxPositionEmbeddings, do_lower_case: false }),
    "1_Pooling/config.json": json({
      word_embedding_dimension: hiddenSize,
      ...Object.fromEntries(Object.entries(MODES).map(([mode, key]) => [key, mode === embedding.pooling])),
      ...Object.fromEntries(REFUSED.map((key) => [key, false])),
      include_prompt: true,
    }),
  };
}

/** Writes those files, each complete or not at all. */
export async function writeEmbeddingFiles(folder: string, config: ModelConfig): Promise<void> {
  for (const [name, text] of Object.entries(embeddingFiles(config))) {
    const path = join(folder, name);
    await makeFolder(dirname(path));
    await writeFileAtomically(path, (sink) => sink.write(Buffer.from(text)));
  }
}
