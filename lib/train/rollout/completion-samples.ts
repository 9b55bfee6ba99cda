import type { LanguageModel } from "../../language-model/language-model.ts";
import type { TrainEvent } from "../loop/trainer.ts";
import type { AnsweredPrompt } from "../preference/sequences.ts";
import type { SampledCompletion } from "../tracking/tracker.ts";

/** An answer of a rollout with its rewards. */
interface Rated {
  answer: AnsweredPrompt;
  /** The score of each reward. */
  scores: readonly (number | null)[];
  reward: number;
  /** The answer's training item. Its `advantage` is reported if it is one number. */
  item: unknown;
}

/** Keeps some answers of the last rollout, and adds them to the next event. */
export class CompletionSamples {
  private readonly maxSamples: number;
  private readonly rewardNames: readonly string[];
  private readonly tokenizer: Pick<NonNullable<LanguageModel["tokenizer"]>, "decode">;
  private training: SampledCompletion[] | undefined;
  private evaluation: SampledCompletion[] | undefined;

  /** @param maxSamples number of answers of a rollout to keep; 0: none */
  constructor(maxSamples: number, rewardNames: readonly string[], tokenizer: CompletionSamples["tokenizer"]) {
    this.maxSamples = maxSamples;
    this.rewardNames = rewardNames;
    this.tokenizer = tokenizer;
  }

  /**
   * Replaces the kept answers by the first answers of this rollout, so that answers to the same prompt can be compared.
   */
  set(rated: readonly Rated[], { isEvaluation }: { isEvaluation: boolean }): void {
    if (this.maxSamples > 0)
      this[isEvaluation ? "evaluation" : "training"] = rated.slice(0, this.maxSamples).map((one) => this.sample(one));
  }

  /** Adds the kept answers to the events that follow. */
  async *follow<Result>(events: AsyncGenerator<TrainEvent, Result, void>): AsyncGenerator<TrainEvent, Result, void> {
    try {
      let next = await events.next();
      for (; !next.done; next = await events.next()) {
        const kind = "loss" in next.value ? "training" : "evaluation";
        const completions = this[kind];
        this[kind] = undefined;
        yield completions ? { ...next.value, completions } : next.value;
      }
      return next.value;
    } finally {
      await events.return(undefined as Result);
    }
  }

  private sample({ answer: { ids, promptLength }, scores, reward, item }: Rated): SampledCompletion {
    const { advantage } = item as { advantage?: unknown };
    return {
      prompt: this.tokenizer.decode(ids.subarray(0, promptLength)),
      completion: this.tokenizer.decode(ids.subarray(promptLength), { skipSpecialTokens: true }),
      reward,
      rewards: Object.fromEntries(this.rewardNames.map((name, i) => [name, scores[i] ?? null])),
      ...(typeof advantage === "number" && { advantage }),
    };
  }
}
