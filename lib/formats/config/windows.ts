// Which layers of a model slide.
import { describe, type HeddleError } from "../../core/errors.ts";
import type { ModelConfig } from "./config-types.ts";

/** Which layers slide where `layer_types` does not say. */
export type WindowRule =
  /** None: `sliding_window` is not read. */
  | { kind: "none" }
  /** All, where there is a `sliding_window`; `otherwise` is the configuration class's default. */
  | { kind: "all"; otherwise: number | null }
  /** Only with `use_sliding_window`: those from `max_window_layers` on (Qwen 2, 3), or all. */
  | { kind: "flag"; from: "max_window_layers" | "first" }
  /** With `use_sliding_window`, those that do not rotate (SmolLM 3). */
  | { kind: "unrotated" }
  /** All but every n-th. */
  | { kind: "pattern"; period: number; otherwise: number }
  /** All but the first of every n (ModernBERT), under its own keys of config.json. */
  | { kind: "global"; period: number; otherwise: number };

/** The window kinds of `layers` layers by a family's rule, for a configuration that has a window. */
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

/** n where all layers but every n-th slide, as `sliding_window_pattern` says it: a number, or as EXAONE 4 spells it, "LLLG". */
export function periodOf(pattern: unknown, unsupported: (message: string) => HeddleError): unknown {
  if (typeof pattern !== "string") return pattern;
  if (/^L*G$/.test(pattern)) return pattern.length;
  throw unsupported(`sliding_window_pattern: expected a number or layers as in LLLG, got ${describe(pattern)}`);
}
