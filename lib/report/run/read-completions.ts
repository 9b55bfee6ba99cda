import { join } from "node:path";
import { isObject } from "../../core/is-object.ts";
import { linesOf } from "../../data/lines.ts";
import { exists } from "../../io/atomic-files.ts";
import { eventOf } from "../../train/tracking/event-lines.ts";
import { COMPLETIONS_FILE } from "../../train/tracking/run-log.ts";
import type { SampledCompletion } from "../../train/tracking/tracker.ts";

/** Maximum number of steps of training, and of evaluation, in addition to the last step. */
const MAX_STEPS = 8;
/** Maximum number of completions of a step. */
const MAX_COMPLETIONS = 8;
/** Maximum number of characters of a text. */
const MAX_TEXT = 1500;
/** Maximum number of characters of a line. Longer lines are ignored. */
const MAX_LINE = 2 ** 20;
/** Maximum number of lines. Further lines are not read. */
const MAX_LINES = 2_000_000;

/** Completions of a step. */
export interface StepCompletions {
  step: number;
  /** Whether the prompts are held-out. */
  evaluation: boolean;
  completions: SampledCompletion[];
}

/**
 * Reads the sampled completions of some steps of training and of some evaluations. Both are spread evenly over the run and include the last one.
 * Returns an empty array if the run logged no completions.
 * @throws HeddleError INVALID_FILE for a compressed file, IO
 */
export async function readCompletions(folder: string): Promise<StepCompletions[]> {
  const path = join(folder, COMPLETIONS_FILE);
  if (!(await exists(path))) return [];
  const [training, evaluations] = [new SpreadSteps(false), new SpreadSteps(true)];
  let [count, newest] = [0, 0];
  for await (const line of linesOf(path)) {
    if (++count > MAX_LINES) break;
    const event = line.length > MAX_LINE ? undefined : eventOf(line);
    const completion = event && completionOf(event);
    if (!completion) continue;
    // A resumed run repeats steps. Drop their earlier completions.
    if (event.step < newest) for (const spread of [training, evaluations]) spread.dropFrom(event.step);
    newest = event.step;
    ("evaluation" in event ? evaluations : training).add(event.step, completion);
  }
  return [...training.chosen, ...evaluations.chosen].sort((a, b) => a.step - b.step);
}

/** Chooses evenly spread steps from a stream of unknown length. If there are too many, drops every second chosen step. */
class SpreadSteps {
  private steps: (StepCompletions & { place: number })[] = [];
  private last: StepCompletions | undefined;
  private place = -1;
  private every = 1;
  private readonly evaluation: boolean;

  constructor(evaluation: boolean) {
    this.evaluation = evaluation;
  }

  /** Drops a step and all later steps. */
  dropFrom(step: number): void {
    this.steps = this.steps.filter((one) => one.step < step);
    if (this.last && this.last.step >= step) this.last = this.steps.at(-1);
  }

  add(step: number, completion: SampledCompletion): void {
    if (this.last?.step !== step) {
      this.last = { step, evaluation: this.evaluation, completions: [] };
      this.place += 1;
      if (this.place % this.every === 0) this.steps.push(Object.assign(this.last, { place: this.place }));
      if (this.steps.length > MAX_STEPS) {
        this.every *= 2;
        this.steps = this.steps.filter(({ place }) => place % this.every === 0);
      }
    }
    if (this.last.completions.length < MAX_COMPLETIONS) this.last.completions.push(completion);
  }

  get chosen(): StepCompletions[] {
    const { steps, last } = this;
    const all = last && steps.at(-1)?.step !== last.step ? [...steps, last] : steps;
    return all.map(({ step, evaluation, completions }) => ({ step, evaluation, completions }));
  }
}

/** Returns the completion of a line, with long texts truncated. Returns undefined for any other line. */
function completionOf(line: object): SampledCompletion | undefined {
  const { prompt, completion, reward, rewards, advantage } = line as Partial<SampledCompletion>;
  if (typeof prompt !== "string" || typeof completion !== "string" || typeof reward !== "number") return undefined;
  const scores = Object.entries(isObject(rewards) ? rewards : {}).filter(
    (entry): entry is [string, number] => typeof entry[1] === "number",
  );
  return {
    prompt: prompt.slice(-MAX_TEXT),
    completion: completion.slice(0, MAX_TEXT),
    reward,
    rewards: Object.fromEntries(scores.slice(0, 10)),
    ...(typeof advantage === "number" && { advantage }),
  };
}
