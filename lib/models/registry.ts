import { HeddleError } from "../errors.ts";
import { bert } from "./bert.ts";
import type { Family } from "./family.ts";
import { gemma, gemma2, gemma3 } from "./gemma.ts";
import { gptOss } from "./gpt-oss.ts";
import { gpt2 } from "./gpt2.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { modernbert } from "./modernbert.ts";
import { olmo2 } from "./olmo2.ts";
import { phi3 } from "./phi3.ts";
import { qwen2, qwen3 } from "./qwen.ts";
import { qwen3Moe } from "./qwen3-moe.ts";
import { smollm3 } from "./smollm3.ts";

const families: readonly Family[] = [
  llama,
  mistral,
  qwen2,
  qwen3,
  qwen3Moe,
  gemma,
  gemma2,
  gemma3,
  granite,
  olmo2,
  phi3,
  smollm3,
  gptOss,
  bert,
  modernbert,
  gpt2,
];

/** The `model_type` values that can be loaded. */
export const modelTypes: readonly string[] = families.flatMap((f) => f.modelTypes);

/** The family of a `model_type`. @throws HeddleError UNSUPPORTED naming the known ones */
export function familyOf(modelType: string): Family {
  const found = families.find((f) => f.modelTypes.includes(modelType));
  if (!found)
    throw new HeddleError(
      "UNSUPPORTED",
      `model_type: expected one of ${modelTypes.join(", ")}, got ${JSON.stringify(modelType)}`,
    );
  return found;
}
