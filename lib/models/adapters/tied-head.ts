// Adapters that replace the embedding of a model with tied embeddings. heddle stores embedding and head of such a model as one weight.
// PEFT copies each module, so a trained embedding leaves the head unchanged, unless the option `ensure_weight_tying` keeps both equal.
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { ownHead } from "../../formats/config/heads.ts";
import type { WeightSource } from "../../formats/weights.ts";
import { isEncoder } from "../family.ts";
import type { Model } from "../model.ts";
import type { Adapter } from "./adapters.ts";
import { targetModules } from "./lora.ts";

type Named = Pick<Model, "config" | "family" | "weightNames">;

/** Returns the name of the weight that embedding and head share, or undefined if the head is separate or missing. */
export function tiedHead(model: Named): string | undefined {
  const { config, family } = model;
  if (!config.tieWordEmbeddings || isEncoder(model) || config.classifier || config.embedding) return undefined;
  return family.head(config).weight;
}

/**
 * Resolves `modulesToSave` to modules.
 * @throws HeddleError INVALID_ARGUMENT for an unknown module, and for the head of a model with tied embeddings
 */
export function savedModules(model: Named, names: readonly string[]): string[] {
  const tied = tiedHead(model);
  const own = names.find((name) => `${name}.weight` === ownHead(model.config));
  if (tied && own !== undefined && !model.weightNames.includes(ownHead(model.config))) {
    const embedding = tied.replace(/\.weight$/, "").replace(/^.*\./, "");
    throw invalidArgument("lora.modulesToSave", `${embedding}, which is the head too (tieWordEmbeddings)`, own);
  }
  const modules = model.weightNames.map((name) => name.replace(/\.weight$/, ""));
  return targetModules(modules, names, "lora.modulesToSave");
}

/** Whether a tensor of an adapter's file is a separate head in a model with tied embeddings. */
export function isHeadBesideTied(model: Named, name: string): boolean {
  return (
    name === ownHead(model.config) &&
    tiedHead(model) !== undefined &&
    !model.weightNames.includes(ownHead(model.config))
  );
}

/**
 * Throws unless an adapter leaves the embedding and the head equal, because this model ties them.
 * @param stored the names, in the file, of the embedding and of the head. Undefined if the file does not have the tensor
 * @param isTied whether the adapter's configuration ties the head to the embedding
 * @throws HeddleError UNSUPPORTED
 */
export function needOneHead(
  model: Named,
  source: WeightSource,
  stored: { embedding: string | undefined; head: string | undefined },
  { path, isTied }: { path: string; isTied: boolean },
): void {
  const tied = tiedHead(model);
  const { embedding, head } = stored;
  if (!tied || (embedding === undefined && head === undefined)) return;
  if (head === undefined && isTied) return;
  if (embedding !== undefined && head !== undefined && areSame(source, embedding, head)) return;
  const got =
    head === undefined
      ? "only the embedding (no ensure_weight_tying in adapter_config.json)"
      : embedding === undefined
        ? "only the head"
        : "two that differ";
  throw new HeddleError(
    "UNSUPPORTED",
    `${path}: expected the same weights for ${tied} and the head, because this model ties them, got ${got}`,
  );
}

function areSame(source: WeightSource, one: string, other: string): boolean {
  const [a, b] = [source.info(one), source.info(other)];
  if (a.storedDtype !== b.storedDtype || String(a.shape) !== String(b.shape)) return false;
  const bytes = (name: string) => {
    const { file, offset, bytes: count } = source.tensor(name);
    return Buffer.from(file.bytes(offset, count));
  };
  return bytes(one).equals(bytes(other));
}

/** Whether an adapter changes the tied weight, so that its configuration must tell PEFT to tie the head. */
export function bringsTiedHead(model: Named, adapter: Adapter): boolean {
  const tied = tiedHead(model);
  return tied !== undefined && adapter.saved.has(tied);
}
