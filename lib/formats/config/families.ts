// The file formats of all families, by model_type. lib/models/registry.ts fills the table.
import { describe, HeddleError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";
import type { FamilyFacts, FamilyFormat } from "./family-format.ts";

const formats = new Map<string, FamilyFormat>();

/** Whether a value is a model type that can be loaded. */
export function isModelType(modelType: unknown): modelType is string {
  return typeof modelType === "string" && formats.has(modelType);
}

/** Returns all model types that can be loaded: built-in ones first, then registered ones. */
export function knownModelTypes(): string[] {
  return [...formats.keys()];
}

/** Returns the file format of a family. @throws HeddleError UNSUPPORTED with the nearest known name */
export function formatOf(modelType: string): FamilyFormat {
  const found = formats.get(modelType);
  if (!found) {
    const near = typeof modelType === "string" ? nearest(modelType, knownModelTypes()) : undefined;
    throw new HeddleError(
      "UNSUPPORTED",
      `model_type: expected a supported type${near ? ` (nearest: ${near})` : ""}, got ${describe(modelType)}`,
    );
  }
  return found;
}

/** Whether a family has a default partialRotaryFactor. If so, a configuration must state the factor even if it is 1. */
export function saysRotated(modelType: string): boolean {
  const { defaults, fileDefaults } = formatOf(modelType);
  return (defaults.partialRotaryFactor ?? fileDefaults?.partialRotaryFactor) !== undefined;
}

/** Adds a family. `registerFamily` has checked that the name is free. */
export function setFormat(modelType: string, facts: FamilyFacts, builtIn: boolean): void {
  formats.set(modelType, {
    windows: { kind: "none" },
    ...facts,
    builtIn,
    defaults: { rmsNormEps: 1e-6, hiddenAct: "silu", ropeTheta: 1e4, maxPositionEmbeddings: 2048, ...facts.defaults },
  });
}

/** Whether a family was added by `registerFamily`. */
export function isRegistered(modelType: string): boolean {
  return formats.has(modelType) && !formatOf(modelType).builtIn;
}
