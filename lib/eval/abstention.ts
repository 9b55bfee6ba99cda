/** The outcome of one question. */
export interface Outcome {
  /** Whether the question is marked as having no true answer. */
  unanswerable: boolean;
  /** Whether the model declined to answer. */
  declined: boolean;
  /** Whether the answer is an accepted one. Always false for an unanswerable question. */
  correct: boolean;
}

/** How often a model declines unanswerable and answerable questions. */
export interface Abstention {
  /** Number of answerable questions. */
  answerable: number;
  /** Number of unanswerable questions. */
  unanswerable: number;
  /** Share of unanswerable questions that were declined; null if there are no unanswerable questions. */
  declined: number | null;
  /** Share of unanswerable questions with an invented answer; null if there are no unanswerable questions. */
  invented: number | null;
  /** Share of answerable questions that were declined; null if there are no answerable questions. */
  wronglyDeclined: number | null;
}

/** Counts the questions, and computes the shares that were declined. */
export function abstentionOf(outcomes: readonly Outcome[]): Abstention {
  const share = (some: readonly Outcome[]) =>
    some.length > 0 ? some.filter((o) => o.declined).length / some.length : null;
  const unanswerable = outcomes.filter((o) => o.unanswerable);
  const answerable = outcomes.filter((o) => !o.unanswerable);
  const declined = share(unanswerable);
  return {
    answerable: answerable.length,
    unanswerable: unanswerable.length,
    declined,
    invented: declined === null ? null : 1 - declined,
    wronglyDeclined: share(answerable),
  };
}

/**
 * Returns the share of answerable questions that were answered correctly; null if there are no answerable questions.
 */
export function accuracyOf(outcomes: readonly Outcome[]): number | null {
  const answerable = outcomes.filter((o) => !o.unanswerable);
  return answerable.length > 0 ? answerable.filter((o) => o.correct).length / answerable.length : null;
}
