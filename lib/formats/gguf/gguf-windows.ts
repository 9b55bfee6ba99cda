// Sliding windows in GGUF metadata: their size, and which layers have them.
import { HeddleError } from "../../core/errors.ts";
import { isWhole } from "../../core/is-whole.ts";
import type { ModelConfig } from "../config/config.ts";
import { formatOf } from "../config/families.ts";
import { layerTypesOf, type WindowRule } from "../config/windows.ts";
import type { GgufMetadata } from "./gguf-metadata.ts";
import type { GgufValue } from "./gguf-types.ts";

/**
 * Returns the window of sliding layers, or null for none.
 * @param usual llama.cpp's default for files without the key
 */
export function slidingWindowFromGguf(meta: GgufMetadata, arch: string, usual?: number | null): number | null {
  return (meta.number(`${arch}.attention.sliding_window`) ?? usual) || null;
}

/**
 * Returns which layers have a sliding window, by `sliding_window_pattern` or else by the family's rule. The pattern is
 * one flag per layer, or a number n: of every n layers, all but one have a window. With 0, all layers have one. Returns
 * undefined if no layer has a window, or if there is neither a pattern nor a rule with a period.
 * @throws HeddleError INVALID_FILE
 */
export function layerTypesFromGguf(
  meta: GgufMetadata,
  { modelType, arch, layers, window }: { modelType: string; arch: string; layers: number; window: number | null },
): Pick<ModelConfig, "layerTypes"> | undefined {
  // A layer count above the limit is refused later, with the other values.
  if (window === null || !(layers <= 1024)) return undefined;
  const key = `${arch}.attention.sliding_window_pattern`;
  const entry = meta.values.get(key);
  const { windows } = formatOf(modelType);
  if (entry === undefined) return hasPeriod(windows) ? { layerTypes: layerTypesOf(windows, layers) } : undefined;
  const invalid = (expected: string, got: unknown) =>
    new HeddleError("INVALID_FILE", `${meta.path}: ${key}: expected ${expected}, got ${got}`);
  if (entry.type !== "array") {
    const period = meta.number(key)!;
    if (!isWhole(period)) throw invalid("a whole number of layers", period);
    return { layerTypes: periodic(windows, period, layers) };
  }
  const flags: ArrayLike<unknown> = entry.of === "bool" ? entry.value : meta.numbers(key)!;
  if (flags.length !== layers) throw invalid(`a flag for each of ${layers} layers`, flags.length);
  return { layerTypes: Array.from(flags, (flag) => (Number(flag) === 0 ? "full_attention" : "sliding_attention")) };
}

/**
 * Returns `sliding_window_pattern` for layers that do not follow their family's rule: a period, or one flag per layer.
 * Returns undefined for layers that follow the rule.
 */
export function slidingPatternToGguf({ modelType, slidingWindow, layerTypes }: ModelConfig): GgufValue | undefined {
  const { windows } = formatOf(modelType);
  if (!hasPeriod(windows) || slidingWindow === null) return undefined;
  const period = slidingPeriod(windows, layerTypes);
  if (period === undefined)
    return { type: "array", of: "bool", value: layerTypes.map((type) => type === "sliding_attention") };
  const usual = String(layerTypesOf(windows, layerTypes.length)) === String(layerTypes);
  return usual ? undefined : { type: "u32", value: period };
}

type Periodic = Extract<WindowRule, { period: number }>;

function hasPeriod(windows: WindowRule): windows is Periodic {
  return windows.kind === "pattern" || windows.kind === "global";
}

/** Returns n if all layers but one of every n slide (0 if all do), or undefined if the layers follow no such rule. */
function slidingPeriod(windows: WindowRule, layerTypes: ModelConfig["layerTypes"]): number | undefined {
  // Kind "pattern": the first full-attention layer ends its period. Kind "global": layer 0 is full, and the next full
  // layer begins the second period.
  const full = layerTypes.indexOf("full_attention", windows.kind === "global" ? 1 : 0);
  const period = windows.kind !== "global" ? full + 1 : full < 0 ? layerTypes.length : full;
  return String(periodic(windows, period, layerTypes.length)) === String(layerTypes) ? period : undefined;
}

/**
 * Returns the layers' types for a period from the file; 0 means that all layers slide. One of every n layers is full: the
 * first in families of kind "global", the last in all others.
 */
function periodic(windows: WindowRule, period: number, layers: number): ModelConfig["layerTypes"] {
  if (period === 0) return Array<"sliding_attention">(layers).fill("sliding_attention");
  const kind = windows.kind === "global" ? "global" : "pattern";
  return layerTypesOf({ kind, period, otherwise: 0 }, layers);
}
