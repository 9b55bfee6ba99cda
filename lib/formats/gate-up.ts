// Some families concatenate the gate and up matrices, gate first. Their GGUF files store two matrices. These functions
// convert between the two forms by views, without a copy.
import type { ModelConfig } from "./config/config-types.ts";
import { formatOf } from "./config/families.ts";
import { sourcesOf } from "./element-sources.ts";
import { checkSameParts } from "./stacks.ts";
import type { StoredTensor, TensorInfo, WeightSource } from "./weights.ts";

interface Names {
  whole: string;
  parts: readonly [gate: string, up: string];
}

/**
 * Returns the names of the fused matrix and of its halves, given the name of the fused matrix (`from` "whole") or of the
 * gate. Returns undefined for other names.
 */
function namesOf(name: string, { modelType }: ModelConfig, from: "whole" | "gate"): Names | undefined {
  const { gateUp } = formatOf(modelType);
  if (gateUp === undefined) return undefined;
  const block = gateUp.replace(/\.[^.]+$/, "");
  const written = from === "whole" ? `.${gateUp}.weight` : `.${block}.gate_proj.weight`;
  if (!name.endsWith(written)) return undefined;
  const layer = name.slice(0, -written.length);
  const part = (kind: string) => `${layer}.${block}.${kind}_proj.weight`;
  return { whole: `${layer}.${gateUp}.weight`, parts: [part("gate"), part("up")] };
}

/** Presents a GGUF file's weights, under transformers' names, with gate and up concatenated. */
export function joinGateUp(weights: WeightSource, config: ModelConfig): WeightSource {
  const joined = new Map<string, Names>();
  for (const name of weights.names()) {
    const names = namesOf(name, config, "gate");
    if (names?.parts.every((part) => weights.has(part))) joined.set(names.whole, names);
  }
  if (joined.size === 0) return weights;
  const used = new Set([...joined.values()].flatMap(({ parts }) => parts));
  const both = <T extends TensorInfo>(name: string, gate: T, up: TensorInfo): T => {
    checkSameParts([gate, up], "the gate matrix");
    return { ...gate, name, shape: [2 * gate.shape[0]!, ...gate.shape.slice(1)], bytes: 2 * gate.bytes };
  };
  return {
    ...weights,
    names: () => [...weights.names().filter((name) => !used.has(name)), ...joined.keys()],
    has: (name) => joined.has(name) || (weights.has(name) && !used.has(name)),
    info(name) {
      const names = joined.get(name);
      if (!names) return weights.info(name);
      const [gate, up] = names.parts.map((part) => weights.info(part));
      return both(name, gate!, up!);
    },
    tensor(name): StoredTensor {
      const names = joined.get(name);
      if (!names) return weights.tensor(name);
      const [gate, up] = names.parts.map((part) => weights.tensor(part));
      return { ...both(name, gate!, up!), sources: () => [gate!, up!].flatMap((part) => sourcesOf(part)) };
    },
  };
}

/** Presents weights, under transformers' names, with gate and up separate, as the family's GGUF files have them. */
export function splitGateUp(weights: WeightSource, config: ModelConfig): WeightSource {
  const halves = new Map<string, { whole: string; half: number }>();
  const names = weights.names().flatMap((name) => {
    const found = namesOf(name, config, "whole");
    if (!found) return [name];
    found.parts.forEach((part, half) => {
      halves.set(part, { whole: name, half });
    });
    return found.parts;
  });
  if (halves.size === 0) return weights;
  const halfOf = <T extends TensorInfo>(name: string, stored: T): T => ({
    ...stored,
    name,
    shape: [stored.shape[0]! / 2, ...stored.shape.slice(1)],
    bytes: stored.bytes / 2,
  });
  return {
    ...weights,
    names: () => names,
    has: (name) => halves.has(name) || weights.has(name),
    info(name) {
      const part = halves.get(name);
      return part ? halfOf(name, weights.info(part.whole)) : weights.info(name);
    },
    tensor(name): StoredTensor {
      const part = halves.get(name);
      if (!part) return weights.tensor(name);
      const { sources, ...stored } = weights.tensor(part.whole);
      const half = halfOf(name, stored);
      const [rows, columns] = half.shape as [number, number];
      if (!sources) return { ...half, offset: stored.offset + part.half * half.bytes };
      return {
        ...half,
        sources() {
          const whole = sources();
          // The sources are the two halves, or one whole matrix (8-bit floats), which is sliced by rows.
          if (whole.length === 2) return [whole[part.half]!];
          const view = { sizes: [rows, columns], strides: [columns, 1], start: part.half * rows * columns };
          return whole.map((source) => ({ ...source, view }));
        },
      };
    },
  };
}
