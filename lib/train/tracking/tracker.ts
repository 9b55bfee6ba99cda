/** The run that a tracker follows. */
export interface TrackedRun {
  /** Name of the run: the option `name`, else the name of outputDir, else the stage. */
  name: string;
  /** "pretrain", "sft", "dpo", … */
  stage: string;
  /**
   * Number of steps that were completed before a resume; 0 for a new run. Later steps may already have been logged by
   * the run that was killed.
   */
  step: number;
  /** Number of steps of the whole run. */
  maxSteps: number;
  /** The model's configuration and the run's options, as JSON. */
  config: Readonly<Record<string, unknown>>;
}

/** How a run ended. `aborted`: by its signal, or because its loop was left. */
export type TrackerStatus = "completed" | "aborted" | "failed";

/** An answer that the model gave in training, with its rewards. */
export interface SampledCompletion {
  /** The prompt's text, with the special tokens of its chat template. */
  prompt: string;
  /** The answer's text. */
  completion: string;
  /** The weighted sum of the rewards. */
  reward: number;
  /** The score of each reward function by name; null if it did not apply. */
  rewards: Readonly<Record<string, number | null>>;
  /** The advantage over the other answers to the prompt (GRPO). */
  advantage?: number | undefined;
}

/**
 * Receives the metrics of a run, for example to send them to a service. Calls come in order, each after the promise of
 * the previous call has settled. The training does not wait for them. An error is reported once as a warning, and the
 * run continues.
 */
export interface Tracker {
  /** Name for messages. Default: the tracker's position in the list. */
  readonly name?: string | undefined;
  /** Called before the first step. If it fails, nothing else is called. */
  start?: ((run: TrackedRun) => void | Promise<void>) | undefined;
  /**
   * Called for each logged step and evaluation.
   * @param metrics `train/loss`, `train/learningRate`, …, or for an evaluation `eval/loss`, …; the stage's metrics have the same prefixes.
   *   Values may be NaN or infinite
   */
  log(metrics: Readonly<Record<string, number>>, step: number): void | Promise<void>;
  /** Called for a logged step with sampled completions (logCompletions). */
  samples?: ((samples: readonly SampledCompletion[], step: number) => void | Promise<void>) | undefined;
  /** Called last. The run waits for it, at most ten seconds. */
  end?: ((status: TrackerStatus) => void | Promise<void>) | undefined;
}
