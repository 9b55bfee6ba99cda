import { z } from "zod";
import { describe, HeddleError, invalidArgument } from "../../core/errors.ts";
import { raceAbort } from "../../core/race-abort.ts";
import { classifierOutputs } from "../../language-model/embed/classify.ts";
import type { LanguageModel } from "../../language-model/language-model.ts";
import { mean } from "../../metrics/mean.ts";
import type { Model } from "../../models/model.ts";
import type { ChatMessage } from "../../tokenizer/chat/chat.ts";
import { continuationIds, promptIdsOf } from "../../tokenizer/prompt-ids.ts";
import type { Metrics } from "../loop/stage.ts";
import type { DrawnAnswer } from "./draw.ts";
import type { PolicyPrompt } from "./prompts.ts";

/**
 * Input of a reward function: arrays with one element per answer. In addition to the fields named here, it has every further field of the
 * rows.
 */
export interface RewardInput {
  /** The prompts as given in the rows: texts, or arrays of messages. */
  prompts: readonly (string | readonly ChatMessage[])[];
  /** Texts of the answers. */
  completions: readonly string[];
  /** Token ids of the answers. */
  completionIds: readonly (readonly number[])[];
  readonly [column: string]: readonly unknown[];
}

/** Returns a number for each answer, higher for better ones; null if the function does not apply. */
export type RewardFunction = (
  input: RewardInput,
  context: { signal: AbortSignal | undefined },
) => readonly (number | null)[] | Promise<readonly (number | null)[]>;

/** A function, or a reward model: a sequence classifier with one label, as trained by `trainReward`. */
export type Reward = RewardFunction | RewardModel;

/** A reward model, as trained by `trainReward`. A LanguageModel implements it. */
export interface RewardModel {
  /** The network, with a classification head of one label. */
  readonly model: Model;
  /** The tokenizer of the reward model. */
  readonly tokenizer?: LanguageModel["tokenizer"];
}

/** The schema of an option that lists rewards. */
export const rewardList = z.custom<readonly Reward[]>(
  (v) =>
    Array.isArray(v) &&
    v.length > 0 &&
    v.every((r) => typeof r === "function" || (typeof r === "object" && r && "model" in r)),
  "an array of functions and reward models (in a configuration file: paths of modules that export them, or of models)",
);

/** The combined rewards of some answers. */
export interface Judgement {
  /** The weighted sum for each answer. */
  rewards: number[];
  /** `rewards/<name>`: the mean of each reward function. */
  report: Metrics;
}

/** Scores answers by several weighted rewards. */
export class Judge {
  private readonly rewards: readonly { name: string; weight: number; of: Reward }[];
  private readonly policy: LanguageModel;

  constructor(rewards: readonly Reward[], weights: readonly number[] | undefined, policy: LanguageModel) {
    if (weights && weights.length !== rewards.length)
      throw invalidArgument("rewardWeights", `${rewards.length} numbers, one per reward`, weights);
    const named = rewards.map((of, i) => ({ name: nameOf(of, i), weight: weights?.[i] ?? 1, of }));
    const taken = (name: string) => named.filter((r) => r.name === name).length > 1;
    this.rewards = named.map((r, i) => (taken(r.name) ? { ...r, name: `${r.name}${i + 1}` } : r));
    this.policy = policy;
    for (const { of } of this.rewards) if (typeof of !== "function") checkRewardModel(of);
  }

  /** The names of the rewards. */
  get names(): string[] {
    return this.rewards.map(({ name }) => name);
  }

  /** Returns the score of each answer by each reward; null if the reward does not apply. @returns (answers, rewards) */
  async scores(drawn: readonly DrawnAnswer[], signal: AbortSignal | undefined): Promise<(number | null)[][]> {
    // A rank has no answers if an evaluation has fewer prompts than there are ranks.
    if (drawn.length === 0) return [];
    const scores: (number | null)[][] = [];
    for (const { name, of } of this.rewards)
      scores.push(
        typeof of === "function" ? await this.ask(name, of, drawn, signal) : await this.score(of, drawn, signal),
      );
    const unscored = drawn.findIndex((_, i) => scores.every((s) => s[i] === null));
    if (unscored >= 0)
      throw new HeddleError(
        "INVALID_ARGUMENT",
        `rewards: expected at least one reward that applies to answer ${unscored} (to ${drawn[unscored]!.prompt.where}), got none`,
      );
    return drawn.map((_, i) => scores.map((of) => of[i]!));
  }

  /** Combines scores into rewards. @param scores (answers, rewards), of all ranks */
  judgement(scores: readonly (readonly (number | null)[])[]): Judgement {
    const rewards = scores.map((of) => this.rewards.reduce((sum, { weight }, r) => sum + weight * (of[r] ?? 0), 0));
    const report: Metrics = {};
    for (const [r, { name }] of this.rewards.entries()) {
      const known = scores.map((of) => of[r]!).filter((v) => v !== null);
      if (known.length > 0) report[`rewards/${name}`] = mean(known);
    }
    return { rewards, report };
  }

  private async ask(
    name: string,
    reward: RewardFunction,
    drawn: readonly DrawnAnswer[],
    signal: AbortSignal | undefined,
  ): Promise<(number | null)[]> {
    const names = new Set(drawn.flatMap(({ prompt }) => Object.keys(prompt.columns)));
    const fieldOf = ({ columns }: PolicyPrompt, name: string) =>
      Object.hasOwn(columns, name) ? columns[name] : undefined;
    const input: RewardInput = {
      ...Object.fromEntries([...names].map((name) => [name, drawn.map(({ prompt }) => fieldOf(prompt, name))])),
      prompts: drawn.map(({ prompt }) => prompt.given),
      completions: drawn.map(({ text }) => text),
      completionIds: drawn.map(({ answer: { ids, promptLength } }) => [...ids.subarray(promptLength)]),
    };
    const given: unknown = await raceAbort(Promise.resolve(reward(input, { signal })), signal);
    const list = ArrayBuffer.isView(given) ? Array.from(given as Float32Array) : given;
    if (!Array.isArray(list) || list.length !== drawn.length)
      throw invalidArgument(`rewards: ${name}`, `an array of ${drawn.length} numbers, one per answer`, given);
    return list.map((value: unknown, i) => {
      if (value === null || value === undefined) return null;
      if (typeof value === "number" && Number.isFinite(value)) return value;
      throw new HeddleError(
        typeof value === "number" ? "NUMERICAL" : "INVALID_ARGUMENT",
        `rewards: ${name}: expected a finite number for answer ${i} (to ${drawn[i]!.prompt.where}), got ${describe(value)}`,
      );
    });
  }

  /**
   * Scores answers with a reward model. Uses the policy's ids if both have the same vocabulary; else tokenizes the text
   * again.
   */
  private async score(
    { model, tokenizer }: RewardModel,
    drawn: readonly DrawnAnswer[],
    signal: AbortSignal | undefined,
  ): Promise<number[]> {
    const same = !tokenizer || sameTokenizer(tokenizer, this.policy.tokenizer);
    const sequences = drawn.map(({ prompt, answer, text, ended }) =>
      same ? answer.ids : reread(tokenizer, prompt.given, { text, ended }),
    );
    const contextLength = model.config.maxPositionEmbeddings;
    const logits = await classifierOutputs(model, sequences, { contextLength, signal });
    return logits.map(([score]) => score!);
  }
}

function nameOf(reward: Reward, index: number): string {
  if (typeof reward !== "function") return "rewardModel";
  return /^[\w$]+$/.test(reward.name) ? reward.name : `reward${index + 1}`;
}

function checkRewardModel({ model }: RewardModel): void {
  const { classifier, modelType } = model.config;
  if (classifier?.task === "sequence" && classifier.labels.length === 1) return;
  const got = classifier
    ? `a ${classifier.task} classifier with ${classifier.labels.length} labels`
    : `a ${modelType} without a head`;
  throw new HeddleError(
    "INVALID_ARGUMENT",
    `rewards: expected a reward model, a sequence classifier with one label (trainReward makes one), got ${got}`,
  );
}

type SomeTokenizer = NonNullable<LanguageModel["tokenizer"]>;

function sameTokenizer(a: SomeTokenizer, b: SomeTokenizer | undefined): boolean {
  return a === b || (b !== undefined && a.files()["tokenizer.json"] === b.files()["tokenizer.json"]);
}

/**
 * Tokenizes a prompt and its answer for a model with another vocabulary. As in the policy's ids, a truncated answer has no end token.
 * Otherwise it would be scored as a complete answer.
 * @internal
 */
export function reread(
  tokenizer: Pick<SomeTokenizer, "encode" | "closingCount" | "decode" | "applyChatTemplate" | "eosTokenIds">,
  prompt: string | readonly ChatMessage[],
  { text, ended }: Pick<DrawnAnswer, "text" | "ended">,
): number[] {
  const { eosTokenIds } = tokenizer;
  if (typeof prompt !== "string") {
    const ids = [...tokenizer.applyChatTemplate([...prompt, { role: "assistant", content: text }]).ids];
    // As in training, leave out the template's text after the answer's end: the reward is read at the last token.
    const end = ids.findLastIndex((id) => eosTokenIds.includes(id));
    // If the template does not end an answer, the last end token belongs to an earlier message.
    if (end < 0 || tokenizer.decode(ids.slice(end + 1)).trim() !== "") return ids;
    return ids.slice(0, ended ? end + 1 : end);
  }
  // Encode the text as `trainReward` encodes its rows.
  const ids = promptIdsOf(tokenizer, prompt);
  const answer = continuationIds(tokenizer, { text: prompt, ids }, text);
  return [...ids, ...answer, ...(ended ? eosTokenIds.slice(0, 1) : [])];
}
