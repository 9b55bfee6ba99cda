// The activations that config.json may name.
import type { ModelConfig } from "./config.ts";

/** Maps transformers' names of activations to heddle's. */
export const ACTIVATIONS: Readonly<Record<string, ModelConfig["hiddenAct"]>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu_pytorch_tanh",
  gelu_fast: "gelu_pytorch_tanh",
  gelu_pytorch_tanh: "gelu_pytorch_tanh",
};

/** Whether a value is a known name of an activation. */
export function isActivation(name: unknown): name is string {
  return typeof name === "string" && Object.hasOwn(ACTIVATIONS, name);
}
