// Norms of the heads of q and k in Hugging Face folders that store a weight per head. A model stores one stack per
// projection, as GGUF does: `…self_attn.q_norm.weight` and `…self_attn.k_norm.weight`, each (heads, headDim).
import { HeddleError } from "../core/errors.ts";
import type { ModelConfig } from "./config/config.ts";
import { formatOf } from "./config/families.ts";
import { type Stack, splitStack, stackOf, withStacks } from "./stacks.ts";
import type { TensorData } from "./tensor-data.ts";
import type { WeightSource } from "./weights.ts";

const KINDS = ["q_norm", "k_norm"] as const;
const PART_NAME = /^(.*)\.([0-9]{1,5})\.weight$/;
const STACK_NAME = /^(.*\.)([qk]_norm)\.weight$/;

/** Presents a folder's norms of heads as stacks. Tensors that are already stacked stay unchanged. */
export function stackHeadNorms(weights: WeightSource, config: ModelConfig): WeightSource {
  const { headNorms } = formatOf(config.modelType);
  if (!headNorms) return weights;
  const counts = { q_norm: config.numAttentionHeads, k_norm: config.numKeyValueHeads };
  const found = new Map<string, { stem: string; count: number; parts: string[] }>();
  for (const name of weights.names()) {
    const [, stem, head] = PART_NAME.exec(name) ?? [];
    const kind = KINDS.find((each) => stem?.endsWith(`.${headNorms[each]}`));
    if (stem === undefined || kind === undefined || Number(head) >= counts[kind]) continue;
    const stack = `${stem.slice(0, -headNorms[kind].length)}${kind}.weight`;
    const { parts } = found.get(stack) ?? { parts: [] };
    parts[Number(head)] = name;
    found.set(stack, { stem, count: counts[kind], parts });
  }
  const stacks = new Map<string, Stack>();
  for (const [name, { stem, count, parts }] of found) {
    const missing = Array.from({ length: count }, (_, head) => head).find((head) => parts[head] === undefined);
    if (missing !== undefined)
      throw new HeddleError("INVALID_FILE", `${weights.path}: expected a weight ${stem}.${missing}.weight, got none`);
    stacks.set(name, { parts, tensor: () => stackOf(weights, name, parts, "the first head") });
  }
  return withStacks(weights, stacks);
}

/** Converts stacks to the separate weights of a folder. */
export function unstackHeadNorms(tensors: readonly TensorData[], { modelType }: ModelConfig): TensorData[] {
  const { headNorms } = formatOf(modelType);
  return tensors.flatMap((tensor) => {
    const [, prefix, kind] = STACK_NAME.exec(tensor.name) ?? [];
    if (!headNorms || kind === undefined) return [tensor];
    return splitStack(tensor, (head) => `${prefix}${headNorms[kind as (typeof KINDS)[number]]}.${head}.weight`);
  });
}
