/**
 * Returns the seed of a request to an API that allows negative seeds. They map to the upper end of heddle's range (-1 becomes 2^53 - 1), so
 * that they differ from the positive seeds that people use.
 */
export function wrappedSeed(given: number | undefined): number | undefined {
  return given === undefined || given >= 0 ? given : given + 2 ** 53;
}
