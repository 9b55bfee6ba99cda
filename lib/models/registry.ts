import { describe, HeddleError } from "../errors.ts";
import { nearest } from "../formats/nearest.ts";
import { bert } from "./bert.ts";
import { cohere, cohere2 } from "./cohere.ts";
import { distilbert } from "./distilbert.ts";
import { electra } from "./electra.ts";
import { ernie45 } from "./ernie4-5.ts";
import { exaone4 } from "./exaone4.ts";
import type { Family } from "./family.ts";
import { gemma, gemma2, gemma3 } from "./gemma.ts";
import { glm, glm4 } from "./glm4.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gptOss } from "./gpt-oss.ts";
import { gpt2 } from "./gpt2.ts";
import { granite, graniteHybrid, graniteMoe } from "./granite.ts";
import { hunyuan } from "./hunyuan.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { modernbert } from "./modernbert.ts";
import { mpnet } from "./mpnet.ts";
import { nomicBert } from "./nomic-bert.ts";
import { olmo2, olmo3 } from "./olmo2.ts";
import { olmoe } from "./olmoe.ts";
import { phi } from "./phi.ts";
import { phi3 } from "./phi3.ts";
import { qwen2, qwen3 } from "./qwen.ts";
import { qwen2Moe, qwen3Moe } from "./qwen-moe.ts";
import { camembert, roberta, xlmRoberta } from "./roberta.ts";
import { seedOss } from "./seed-oss.ts";
import { smollm3 } from "./smollm3.ts";
import { starcoder2 } from "./starcoder2.ts";

const builtIn: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  qwen2Moe,
  qwen3Moe,
  mixtral,
  olmoe,
  gemma,
  gemma2,
  gemma3,
  granite,
  graniteMoe,
  graniteHybrid,
  olmo2,
  olmo3,
  exaone4,
  hunyuan,
  phi,
  seedOss,
  phi3,
  smollm3,
  gptOss,
  gptNeox,
  starcoder2,
  glm,
  glm4,
  cohere,
  cohere2,
  ernie45,
  bert,
  modernbert,
  nomicBert,
  roberta,
  xlmRoberta,
  camembert,
  distilbert,
  electra,
  mpnet,
  gpt2,
];

const families = new Map(builtIn.flatMap((family) => family.modelTypes.map((type) => [type, family] as const)));

/** The family of a `model_type`. @throws HeddleError UNSUPPORTED naming the nearest */
export function familyOf(modelType: string): Family {
  const found = families.get(modelType);
  if (!found) {
    const near = nearest(String(modelType), families.keys());
    throw new HeddleError(
      "UNSUPPORTED",
      `model_type: expected a type that is provided${near ? ` (nearest: ${near})` : ""}, got ${describe(modelType)}`,
    );
  }
  return found;
}

/** Adds a family. Its name is free: `registerFamily` looks. */
export function addFamily(modelType: string, family: Family): void {
  families.set(modelType, family);
}
