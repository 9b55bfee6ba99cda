/** Progress of a call, for usage and timings. */
export interface Progress {
  prefilledTokens: number;
  prefillMs: number;
  decodedTokens: number;
  decodeMs: number;
  /** Time from the call to the first token. */
  firstTokenMs: number | undefined;
}

/** Returns the progress of a call that has not begun. */
export function newProgress(): Progress {
  return { prefilledTokens: 0, prefillMs: 0, decodedTokens: 0, decodeMs: 0, firstTokenMs: undefined };
}
