import { binding } from "../binding/index.ts";
import { invalidArgument } from "../core/errors.ts";

/**
 * A file mapped read-only into memory. Tensors made on top of it keep the mapping alive by themselves.
 *
 * A file that another program shortens while it is mapped can end the process (SIGBUS) when a kernel reads the lost
 * part; `bytes` and `check` report it as an IO error instead. Replacing a file by rename is safe.
 */
export interface MappedFile {
  /** Length in bytes, taken when the file was mapped. */
  readonly size: number;
  /** A copy of `length` bytes from `offset`. Errors: INVALID_ARGUMENT outside the file, IO when it has shrunk. */
  bytes(offset: number, length: number): ArrayBuffer;
  /** Throws IO when the file is shorter than it was when it was mapped. */
  check(): void;
  /** Gives up this handle; every other method then throws DISPOSED. Closing twice is harmless. */
  close(): void;
}

/** Maps a file. Errors: NOT_FOUND, INVALID_FILE (a folder or device), IO, OUT_OF_MEMORY. */
export function mapFile(path: string): MappedFile {
  if (typeof path !== "string" || path === "") throw invalidArgument("path", "a file name", path);
  return new binding.MappedFile(path);
}
