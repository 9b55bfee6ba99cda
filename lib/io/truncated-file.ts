import { HeddleError } from "../core/errors.ts";

/** The size that a truncated file should have. */
interface NeededBytes {
  bytes: number;
  /** The section in which the file ends. `bytes` is then a lower bound, because more sections may follow. */
  within?: string;
}

/** Returns the error for a truncated file. @param size size of the file in bytes */
export function truncatedFile(path: string, size: number, { bytes, within }: NeededBytes): HeddleError {
  const needed = within === undefined ? `${bytes}` : `at least ${bytes}, within ${within}`;
  return new HeddleError("INVALID_FILE", `${path}: the file ends at byte ${size} of ${needed}`);
}
