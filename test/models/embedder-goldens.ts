// Writes the models of scripts/golden/embedders.py as sentence-transformers folders.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { module } from "../formats/sentence-transformers/embedding-folders.ts";
import { saveWeights } from "../formats/write-weights.ts";
import { weightByName } from "../golden/by-name.ts";
import type { FamilyGolden } from "../golden/families.ts";

export interface EmbedderGolden extends Pick<FamilyGolden, "name" | "config" | "weights" | "loss"> {
  /** Gradients by name. `dot` is the dot product with the weight `<name> probe`. */
  gradients: Record<string, FamilyGolden["gradients"][string] & { dot: number }>;
  pooling: "mean" | "lasttoken";
  /** Two queries, then a matching text for each. */
  sequences: number[][];
  /** Hidden states of each sequence's tokens. */
  hidden: number[][][];
  /** Normalized embeddings. */
  vectors: number[][];
  temperature: number;
}

export const embedders: EmbedderGolden[] = JSON.parse(
  readFileSync(new URL("../golden/embedders.json", import.meta.url), "utf8"),
);

export const isBidirectional = ({ config }: EmbedderGolden) =>
  config.is_causal === false || config.use_bidirectional_attention === true;

/** Splits the name of a dense layer's weight: "2_Dense.linear.weight" → ["2_Dense", "linear.weight"]. */
const ofLayer = (name: string) => /^(\d_Dense)\.(.*)$/.exec(name)?.slice(1) as [string, string] | undefined;
/** Returns heddle's name of a golden weight. */
export const nameOf = (name: string) => {
  const layer = ofLayer(name);
  return layer ? `embedding_layers.${Number(layer[0][0]) - 2}.weight` : name;
};

/** Writes a folder as published: trunk tensors without the `model.` prefix and without a head. @returns the folder */
export async function writeEmbedder(golden: EmbedderGolden, folder: string, more: object = {}): Promise<string> {
  const json = (name: string, value: unknown) => {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), JSON.stringify(value));
  };
  const { config, pooling, weights } = golden;
  const width = config.hidden_size as number;
  const dense = Object.keys(weights).flatMap((name) => ofLayer(name)?.[0] ?? []);
  json("config.json", config);
  json("modules.json", [
    module("Transformer", "", 0),
    module("Pooling", "1_Pooling", 1),
    ...dense.map((name, i) => module("Dense", name, 2 + i)),
    module("Normalize", `${dense.length + 2}_Normalize`, dense.length + 2),
  ]);
  const mode = pooling === "mean" ? "pooling_mode_mean_tokens" : "pooling_mode_lasttoken";
  json("1_Pooling/config.json", { word_embedding_dimension: width, [mode]: true, include_prompt: true });
  json("config_sentence_transformers.json", more);
  const isGemma = config.model_type.startsWith("gemma");
  const tensor = (name: string, as: string) => {
    const shape = weights[name]!;
    const around = shape.length === 1 && name.endsWith("norm.weight") && !isGemma ? 1 : 0;
    const bytes = new Uint8Array(weightByName(name, shape, around).buffer);
    return { name: as, dtype: "f32" as const, shape, bytes };
  };
  const trunk = Object.keys(weights).filter((name) => !ofLayer(name));
  await saveWeights(
    folder,
    trunk.map((name) => tensor(name, name.replace(/^model\./, ""))),
  );
  for (const name of Object.keys(weights)) {
    const layer = ofLayer(name);
    if (!layer) continue;
    const [out, inputs] = weights[name]!;
    json(`${layer[0]}/config.json`, {
      in_features: inputs,
      out_features: out,
      bias: false,
      activation_function: "torch.nn.modules.linear.Identity",
    });
    await saveWeights(join(folder, layer[0]), [tensor(name, layer[1])]);
  }
  return folder;
}
