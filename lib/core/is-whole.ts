/** Whether a value is a whole number from `least` to `most`. */
export function isWhole(value: unknown, least = 0, most = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

/** Names the numbers from `least` to `most` in messages. */
export function wholeRange(least: number, most = Number.MAX_SAFE_INTEGER): string {
  const range = most < Number.MAX_SAFE_INTEGER ? `from ${least} to ${most}` : `of at least ${least}`;
  return `a whole number ${range}`;
}
