import { describe, HeddleError } from "../core/errors.ts";
import { nearest } from "../core/nearest-name.ts";
import { bert } from "./families/bert.ts";
import { cohere, cohere2 } from "./families/cohere.ts";
import { distilbert } from "./families/distilbert.ts";
import { electra } from "./families/electra.ts";
import { ernie45 } from "./families/ernie4-5.ts";
import { exaone4 } from "./families/exaone4.ts";
import { gemma, gemma2, gemma3 } from "./families/gemma.ts";
import { glm, glm4 } from "./families/glm4.ts";
import { gptNeox } from "./families/gpt-neox.ts";
import { gptOss } from "./families/gpt-oss.ts";
import { gpt2 } from "./families/gpt2.ts";
import { granite, graniteHybrid, graniteMoe } from "./families/granite.ts";
import { hunyuan } from "./families/hunyuan.ts";
import { llama } from "./families/llama.ts";
import { mistral } from "./families/mistral.ts";
import { mixtral } from "./families/mixtral.ts";
import { modernbert } from "./families/modernbert.ts";
import { mpnet } from "./families/mpnet.ts";
import { nomicBert } from "./families/nomic-bert.ts";
import { olmo2, olmo3 } from "./families/olmo2.ts";
import { olmoe } from "./families/olmoe.ts";
import { phi } from "./families/phi.ts";
import { phi3 } from "./families/phi3.ts";
import { qwen2, qwen3 } from "./families/qwen.ts";
import { qwen2Moe, qwen3Moe } from "./families/qwen-moe.ts";
import { camembert, roberta, xlmRoberta } from "./families/roberta.ts";
import { seedOss } from "./families/seed-oss.ts";
import { smollm3 } from "./families/smollm3.ts";
import { starcoder2 } from "./families/starcoder2.ts";
import type { Family } from "./family.ts";

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
