import { cast, gatherRows, input, mul, reshape, sum } from "../graph/index.ts";
import { classifierLogits } from "../models/heads.ts";
import { rewardLoss } from "./objectives/reward.ts";
import { type PreferencePair, pairRows, perPair, rewardMetrics } from "./preference/pairs.ts";
import { halves } from "./preference/sequences.ts";
import type { Stage } from "./stage.ts";

export interface RewardStageOptions {
  /** Weight of (chosen + rejected)², which keeps scores around 0; 0: none. */
  centerRewardsCoefficient: number;
  sequenceLength: number;
  /** Pairs of a micro-batch. */
  pairs: number;
}

/**
 * A reward model: the score of a whole sequence is its classification head's one number at the last token. The mean over pairs of
 * −log σ(chosen − rejected − margin).
 */
export function rewardStage(options: RewardStageOptions): Stage<readonly PreferencePair[]> {
  const { pairs, sequenceLength } = options;
  return {
    name: "reward",
    count: (batch) => batch.length,
    collate(batch, total) {
      const { inputs, tokens } = pairRows(batch, pairs, sequenceLength, { whole: true });
      const last = (s: number) => {
        const pair = batch[s % pairs];
        return s * sequenceLength + (pair ? (s < pairs ? pair.chosen : pair.rejected).ids.length - 1 : 0);
      };
      return {
        inputs: {
          ids: inputs.ids,
          lastRows: Int32Array.from({ length: 2 * pairs }, (_, s) => last(s)),
          pairWeights: perPair(batch, pairs, () => 1 / total),
          margins: perPair(batch, pairs, (pair) => pair.margin ?? 0),
        },
        tokens,
        counted: batch.length,
      };
    },
    loss({ forward, model }) {
      const pass = forward();
      const last = cast(gatherRows(pass.hidden, input("lastRows", "i32", [2 * pairs])), "f32");
      const { chosen, rejected } = halves(reshape(classifierLogits(pass, model.config, last), [2 * pairs]));
      const losses = rewardLoss({ chosen, rejected, margin: input("margins", "f32", [pairs]) }, options);
      const loss = sum(mul(losses, input("pairWeights", "f32", [pairs])));
      return { loss, chosenRewards: chosen, rejectedRewards: rejected };
    },
    metrics: rewardMetrics,
  };
}
