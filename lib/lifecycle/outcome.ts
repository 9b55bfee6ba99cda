// The goals of `heddle lifecycle`, and the comparison of a run's metrics with the goals. The report's introduction and the command's last
// lines show the result.

import { counted } from "../core/amounts.ts";
import { percent } from "../report/numbers.ts";
import { type Plan, planOf, REFERENCE_MINUTES } from "./plan.ts";
import type { StageMetrics, StageName, StageResult } from "./types.ts";

/** Predicates of sentences about the finished models, such as "answers questions". */
interface Outcome {
  reached: string[];
  missed: string[];
}

/** Minimum share of held-out answers for each goal. Runs with the default budget are well above these. */
const LEAST = { exact: 0.9, preferred: 0.85, declined: 0.7 };

/** Share of the default number of pre-training steps below which the models hardly learn to answer questions. */
const MIN_STEPS = 0.5;

/** Compares the figures of a run's stages with the goals. Goals of stages that have not run are left out. */
export function outcomeOf(stages: readonly Pick<StageResult, "name" | "metrics">[]): Outcome {
  const after = (name: StageName): StageMetrics => stages.find((stage) => stage.name === name)?.metrics.after ?? {};
  const exact = after("sft").exactMatch;
  const preferred = after("reward").rewardAccuracy;
  const invented = [after("dpo"), after("grpo")].flatMap(({ inventedRate }) => inventedRate ?? []);
  const outcome: Outcome = { reached: [], missed: [] };
  const say = (isReached: boolean, reached: string, missed: string) =>
    isReached ? outcome.reached.push(reached) : outcome.missed.push(missed);
  if (exact !== undefined)
    say(exact >= LEAST.exact, "answers questions", `answers ${percent(exact)} of the questions exactly`);
  if (preferred !== undefined)
    say(
      preferred >= LEAST.preferred,
      "prefers better answers",
      `prefers the better answer in ${percent(preferred)} of the pairs`,
    );
  if (invented.length > 0) {
    // The better of the two preference-tuned models decides.
    const least = Math.min(...invented);
    say(
      least <= 1 - LEAST.declined,
      "says when it does not know",
      `invents a capital for ${percent(least)} of the countries that do not exist`,
    );
  }
  return outcome;
}

/** Returns the warning about a budget that is too short to learn from, or undefined. */
export function shortBudget(plan: Plan): string | undefined {
  if (plan.quick) return undefined;
  const reference = planOf({ seed: plan.seed, budgetMinutes: REFERENCE_MINUTES, quick: false });
  const [steps, usual] = [plan.stages.pretrain.steps, reference.stages.pretrain.steps];
  if (steps >= MIN_STEPS * usual) return undefined;
  const seconds = Object.values(plan.stages).reduce((sum, stage) => sum + stage.seconds, 0);
  const minutes = Math.max(1, Math.round(seconds / 60));
  const [own, whole] = [steps, usual].map((n) => n.toLocaleString("en"));
  const enough = MIN_STEPS * REFERENCE_MINUTES;
  return `a budget of ${counted(plan.budgetMinutes, "minute")} allows ${own} of the usual ${whole} steps of pre-training (all stages take about ${minutes} min on two cores); below half of them (${enough} minutes), most answers are wrong or invented`;
}
