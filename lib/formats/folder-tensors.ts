import type { Device } from "../graph/index.ts";
import type { ModelConfig } from "./config/config.ts";
import { unstackExperts } from "./experts.ts";
import { unstackHeadNorms } from "./head-norms.ts";
import type { TensorData } from "./tensor-data.ts";

/**
 * Converts a model's tensors to those of a Hugging Face folder, which stores each expert and each head's norm
 * separately.
 */
export function folderTensors(tensors: readonly TensorData[], config: ModelConfig, device: Device): TensorData[] {
  return unstackHeadNorms(unstackExperts(tensors, config, device), config);
}
