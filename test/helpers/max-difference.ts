type Numbers = ArrayLike<number>;

/** Returns the largest absolute difference between numbers of the same index, or NaN for arrays of different lengths. */
export function maxDifference(a: Numbers, b: Numbers): number {
  if (a.length !== b.length) return Number.NaN;
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}

/** Like maxDifference, for arrays of rows. */
export function maxRowDifference(a: readonly Numbers[], b: readonly Numbers[]): number {
  if (a.length !== b.length) return Number.NaN;
  return a.reduce((most, row, i) => Math.max(most, maxDifference(row, b[i]!)), 0);
}
