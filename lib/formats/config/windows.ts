// Rules for which layers have sliding windows.
import { describe, type HeddleError } from "../../core/errors.ts";
import type { ModelConfig } from "./config-types.ts";

/** Which layers have a sliding window if `layer_types` is missing. @experimental */
export type WindowRule =
  /** No layers: `sliding_window` is not read. */
  | { kind: "none" }
  /**
   * All layers, if there is a `sliding_window`. `otherwise` is the default window of transformers' configuration class.
   */
  | { kind: "all"; otherwise: number | null }
  /** Only with `use_sliding_window`: the layers from `max_window_layers` on (Qwen 2, 3), or all. */
  | { kind: "flag"; from: "max_window_layers" | "first" }
  /** Only with `use_sliding_window`: the layers without RoPE (SmolLM 3). */
  | { kind: "unrotated" }
  /** All layers but every n-th. */
  | { kind: "pattern"; period: number; otherwise: number }
  /** All layers but the first of every n (ModernBERT, which uses other config.json keys). */
  | { kind: "global"; period: number; otherwise: number };

/** Returns the attention kind of each layer by a family's rule, for a configuration with a window. */
export function layerTypesOf(
  rule: WindowRule,
  layers: number,
  { first = 0, period, rotates }: { first?: number; period?: number; rotates?: readonly unknown[] | undefined } = {},
): ModelConfig["layerTypes"] {
  const slides = (i: number): boolean => {
    if (rule.kind === "global") return i % (period ?? rule.period) !== 0;
    if (rule.kind === "pattern") return (i + 1) % (period ?? rule.period) !== 0;
    if (rule.kind === "unrotated") return rotates?.[i] === 0;
    return i >= first;
  };
  return Array.from({ length: layers }, (_, i) => (slides(i) ? "sliding_attention" : "full_attention"));
}

/**
 * Parses `sliding_window_pattern`. Returns n if all layers but every n-th have a sliding window. The key's value is n, or
 * a string such as "LLLG" (EXAONE 4). Values of other types are returned unchanged.
 */
export function periodOf(pattern: unknown, unsupported: (message: string) => HeddleError): unknown {
  if (typeof pattern !== "string") return pattern;
  if (/^L*G$/.test(pattern)) return pattern.length;
  throw unsupported(
    `sliding_window_pattern: expected a number, or a string of layers such as LLLG, got ${describe(pattern)}`,
  );
}
