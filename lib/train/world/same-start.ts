import { firstOf } from "../../core/amounts.ts";
import { HeddleError } from "../../core/errors.ts";
import type { RunRecord } from "../checkpoint/run-record.ts";
import type { Sharding } from "../options/optimizer-options.ts";
import { gather, type World } from "./world.ts";

/** The state from which a rank starts. */
interface Start {
  /** Step of the checkpoint that the rank resumes from; 0 without a checkpoint. */
  step: number;
  /** Digest of that checkpoint. */
  checkpoint: string | undefined;
  record: RunRecord | undefined;
  sharding: Sharding;
}

/** Maximum number of ranks that a message lists. */
const MAX_LISTED = 8;

/**
 * Waits for all ranks, and checks that they start from the same checkpoint with the same options. Otherwise the ranks
 * would train different models without an error.
 * @throws HeddleError INVALID_ARGUMENT on all ranks; the message lists the values with their ranks
 */
export async function needSameStart(world: World, { step, checkpoint, record, sharding }: Start): Promise<void> {
  const place = checkpoint === undefined ? "no checkpoint" : `step ${step} (${checkpoint})`;
  const { options = {}, frozenWeights, parameterGroups } = record ?? {};
  const overlap = world.overlap ?? false;
  const ranks = await gather(world, { place, options, frozenWeights, parameterGroups, sharding, overlap });
  const places = ranks.map((rank) => rank.place);
  if (differ(places))
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `resume: expected the same checkpoint on all ranks, got ${byRank(places)}; outputDir must be on a file system that all ranks see`,
    );
  const need = (name: string, values: readonly unknown[]) => {
    const texts = values.map((value) => JSON.stringify(value ?? null));
    if (differ(texts))
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `${name}: expected the same value on all ranks, got ${byRank(texts.map((text) => (text === "null" ? "none" : text)))}`,
      );
  };
  for (const name of new Set(ranks.flatMap((rank) => Object.keys(rank.options))))
    need(
      name,
      ranks.map((rank) => rank.options[name]),
    );
  need(
    "sharding",
    ranks.map((rank) => rank.sharding),
  );
  need(
    "world.overlap",
    ranks.map((rank) => rank.overlap),
  );
  need(
    "parameterGroups",
    ranks.map((rank) => rank.parameterGroups),
  );
  // A rank without an outputDir does not compute the fingerprint.
  const frozen = ranks.map((rank) => rank.frozenWeights).filter((text) => text !== undefined);
  if (frozen.length === ranks.length) need("frozen weights", frozen);
}

function differ(texts: readonly string[]): boolean {
  return texts.some((text) => text !== texts[0]);
}

/** Lists values with the ranks that have them. */
function byRank(texts: readonly string[]): string {
  const places = new Map<string, number[]>();
  for (const [rank, text] of texts.entries()) places.set(text, [...(places.get(text) ?? []), rank]);
  return [...places]
    .map(([text, ranks]) => `${text} on rank${ranks.length > 1 ? "s" : ""} ${firstOf(ranks, MAX_LISTED)}`)
    .join("; ");
}
