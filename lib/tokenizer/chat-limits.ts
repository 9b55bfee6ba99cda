// What the rendering of a chat template may take.

export const renderLimits = {
  milliseconds: 1000,
  /** Statements and expressions evaluated. */
  steps: 5_000_000,
  /** UTF-16 units of any string, the output included. */
  characters: 1 << 24,
  /** Elements of any array. */
  elements: 100_000,
  range: 10_000,
} as const;

/** A limit above was hit. */
export class LimitError extends Error {}
