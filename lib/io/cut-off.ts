import { HeddleError } from "../core/errors.ts";

/** How long a file has to be. */
export interface NeededBytes {
  /** Bytes that it needs. */
  bytes: number;
  /** The part that it ends within, where more may come after that: `bytes` is then the least. */
  within?: string;
}

/** The error for a file that ends before what it says it holds. @param size bytes that there are */
export function cutOff(path: string, size: number, { bytes, within }: NeededBytes): HeddleError {
  const needed = within === undefined ? `${bytes}` : `at least ${bytes}, within ${within}`;
  return new HeddleError("INVALID_FILE", `${path}: the file ends at byte ${size} of ${needed}`);
}
