import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { Tensor } from "../../graph/index.ts";
import { sameShape } from "../../graph/value.ts";
import type { Model } from "../model.ts";
import { generator, seedOf, uniform } from "../random.ts";
import { type LoraConfig, loraScale, targetModules } from "./lora.ts";
import { savedModules } from "./tied-head.ts";

/** A linear layer of a model, as the forward function applies it. */
export interface LinearLayer {
  inputs: number;
  outputs: number;
  /** Whether the weight is stored as (inputs, outputs), as in GPT-2. */
  transposed: boolean;
}

/** The low-rank update of one layer: y += scale · (x·Aᵀ)·Bᵀ. */
export interface LowRank {
  /** Name of the tensor A (r, inputs) in the model. */
  a: string;
  /** Name of the tensor B (outputs, r) in the model. */
  b: string;
  /** Factor of B·A: alpha / r, or alpha / √r with rsLoRA. */
  scale: number;
}

/** A LoRA adapter of a model. The model holds the adapter's tensors. Several adapters can share one base model. */
export interface Adapter {
  /** The adapter's name, by which calls select it. */
  readonly name: string;
  /** Rank, scale, dropout and targets. */
  readonly config: LoraConfig;
  /** Updates by the layer's name, such as `model.layers.0.self_attn.q_proj`. */
  readonly layers: ReadonlyMap<string, LowRank>;
  /** Weights that the adapter replaces completely: maps the weight's name to the name of the replacement tensor. */
  readonly saved: ReadonlyMap<string, string>;
}

/** Returns the names of an adapter's tensors in a model. */
export function adapterTensorNames(layer: string, adapter: string): { a: string; b: string } {
  return { a: `${layer}.lora_A.${adapter}`, b: `${layer}.lora_B.${adapter}` };
}

/** Returns the name, in a model, of an adapter's copy of a weight. */
export function savedTensorName(weight: string, adapter: string): string {
  return `${weight}.${adapter}`;
}

/** Returns the names of an adapter's tensors: A and B of each layer in order, then the whole weights. */
export function adapterTensors(adapter: Adapter): string[] {
  return [...[...adapter.layers.values()].flatMap(({ a, b }) => [a, b]), ...adapter.saved.values()];
}

/** Returns a valid adapter name. @throws HeddleError INVALID_ARGUMENT for anything else */
export function checkAdapterName(name: unknown): string {
  if (typeof name !== "string" || !/^[\w-]{1,64}$/.test(name))
    throw invalidArgument("adapter", "a name of 1 to 64 letters, digits, - and _", name);
  return name;
}

/**
 * Makes a new f32 adapter. As in PEFT, A is drawn from U(−1/√inputs, 1/√inputs) (Kaiming uniform with a = √5). B is
 * zero, so that the model's outputs do not change yet. The same seed gives the same numbers on every machine.
 */
export async function newAdapter(
  name: string,
  config: LoraConfig,
  layers: ReadonlyMap<string, LinearLayer>,
  weights: Pick<Model, "config" | "family" | "device" | "weightNames" | "weight">,
  seed: number,
): Promise<{ adapter: Adapter; tensors: Map<string, Tensor> }> {
  const { targetModules: targets } = config;
  const all = [...layers.keys()];
  const chosen = targets === "all-linear" ? all : targetModules(all, targets, "lora.targetModules");
  const { device, weightNames } = weights;
  const whole = new Set(savedModules(weights, config.modulesToSave));
  const tensors = new Map<string, Tensor>();
  const adapted = new Map<string, LowRank>();
  for (const layer of chosen) {
    const { inputs, outputs } = layers.get(layer)!;
    const { a, b } = adapterTensorNames(layer, name);
    const start = uniform(config.r * inputs, 1 / Math.sqrt(inputs), generator(seedOf(`${layer}.lora_A`, seed)));
    tensors.set(a, await Tensor.fromOwn(device, "f32", [config.r, inputs], start));
    tensors.set(b, Tensor.zeros(device, "f32", [outputs, config.r]));
    adapted.set(layer, { a, b, scale: loraScale(config) });
  }
  const saved = new Map<string, string>();
  for (const weight of weightNames) {
    if (!whole.has(weight.replace(/\.weight$/, ""))) continue;
    const stored = weights.weight(weight);
    saved.set(weight, savedTensorName(weight, name));
    const copy = await Tensor.fromOwn(device, "f32", stored.shape, await stored.toFloat32());
    tensors.set(savedTensorName(weight, name), copy);
  }
  return { adapter: { name, config, layers: adapted, saved }, tensors };
}

/** Checks that an adapter's tensors fit their layers. @throws HeddleError INVALID_FILE */
export function checkAdapter(
  adapter: Adapter,
  tensors: ReadonlyMap<string, { shape: readonly number[] }>,
  layers: ReadonlyMap<string, LinearLayer>,
  weights: ReadonlyMap<string, { shape: readonly number[] }>,
): void {
  for (const [name, tensor] of adapter.saved) {
    const [expected, got] = [weights.get(name)?.shape, tensors.get(tensor)?.shape];
    if (expected && got && sameShape(expected, got)) continue;
    throw new HeddleError(
      "INVALID_FILE",
      `adapter ${adapter.name}: ${name}: expected a weight of this model (${expected?.join(", ") ?? "it has no weight of this name"}), got (${got?.join(", ")})`,
    );
  }
  for (const [name, { a, b }] of adapter.layers) {
    const layer = layers.get(name);
    if (!layer)
      throw new HeddleError(
        "INVALID_FILE",
        `adapter ${adapter.name}: expected layers of this model, got ${JSON.stringify(name)}`,
      );
    const [left, right] = [tensors.get(a)?.shape ?? [], tensors.get(b)?.shape ?? []];
    const fits = left.length === 2 && right.length === 2 && left[1] === layer.inputs && right[0] === layer.outputs;
    if (!fits || left[0] !== right[1] || left[0] === 0)
      throw new HeddleError(
        "INVALID_FILE",
        `adapter ${adapter.name}: ${name}: expected A (r, ${layer.inputs}) and B (${layer.outputs}, r), got (${left.join(", ")}) and (${right.join(", ")})`,
      );
  }
}
