// The built-in families, by `model_type`. `npm run families` writes this file.
import { bert } from "./bert.ts";
import { cohere, cohere2 } from "./cohere.ts";
import { distilbert } from "./distilbert.ts";
import { electra } from "./electra.ts";
import { ernie45 } from "./ernie4-5.ts";
import { exaone4 } from "./exaone4.ts";
import { gemma, gemma2, gemma3, vaultgemma } from "./gemma.ts";
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
import { olmo } from "./olmo.ts";
import { olmo2, olmo3 } from "./olmo2.ts";
import { olmoe } from "./olmoe.ts";
import { phi } from "./phi.ts";
import { phi3 } from "./phi3.ts";
import { qwen2, qwen3 } from "./qwen.ts";
import { qwen2Moe, qwen3Moe } from "./qwen-moe.ts";
import { camembert, roberta, xlmRoberta } from "./roberta.ts";
import { seedOss } from "./seed-oss.ts";
import { smollm3 } from "./smollm3.ts";
import { stablelm } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";

/** The built-in families by model type. */
export const BUILT_IN = {
  bert,
  cohere,
  cohere2,
  distilbert,
  electra,
  ernie4_5: ernie45,
  exaone4,
  gemma,
  gemma2,
  gemma3_text: gemma3,
  vaultgemma,
  glm,
  glm4,
  gpt_neox: gptNeox,
  gpt_oss: gptOss,
  gpt2,
  granite,
  granitemoehybrid: graniteHybrid,
  granitemoe: graniteMoe,
  hunyuan_v1_dense: hunyuan,
  llama,
  mistral,
  mixtral,
  modernbert,
  mpnet,
  nomic_bert: nomicBert,
  olmo,
  olmo2,
  olmo3,
  olmoe,
  phi,
  phi3,
  qwen2,
  qwen3,
  qwen2_moe: qwen2Moe,
  qwen3_moe: qwen3Moe,
  camembert,
  roberta,
  "xlm-roberta": xlmRoberta,
  seed_oss: seedOss,
  smollm3,
  stablelm,
  starcoder2,
};
