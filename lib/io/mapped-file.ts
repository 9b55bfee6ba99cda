import { binding } from "../binding/index.ts";
import { invalidArgument } from "../core/errors.ts";

/**
 * A file mapped read-only into memory. Tensors that view it keep the mapping alive on their own.
 *
 * If another program truncates the file while it is mapped, a kernel that reads the lost part may end the process (SIGBUS). `bytes` and
 * `check` report this as an IO error instead. Replacing a file by rename is safe.
 */
export interface MappedFile {
  /** Length in bytes at the time of mapping. */
  readonly size: number;
  /**
   * Returns a copy of `length` bytes from `offset` on. @throws HeddleError INVALID_ARGUMENT outside the file, IO if the file has shrunk
   */
  bytes(offset: number, length: number): ArrayBuffer;
  /**
   * Decodes `length` bytes from `offset` on as UTF-8. Decoding the result of `bytes` would leave a copy to the garbage collector.
   * @throws as `bytes`
   */
  text(offset: number, length: number): string;
  /** Checks that the file has not shrunk since it was mapped. @throws HeddleError IO */
  check(): void;
  /** Closes this handle. All other methods then throw DISPOSED. Closing twice is allowed. */
  close(): void;
}

/** Maps a file read-only. @throws HeddleError INVALID_ARGUMENT, NOT_FOUND, INVALID_FILE (a folder or device), IO, OUT_OF_MEMORY */
export function mapFile(path: string): MappedFile {
  if (typeof path !== "string" || path === "") throw invalidArgument("path", "a file name", path);
  return new binding.MappedFile(path);
}
