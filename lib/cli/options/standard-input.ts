import { fstatSync } from "node:fs";
import { HeddleError } from "../../core/errors.ts";

/** Returns standard input, which Node.js would read as empty if it is a folder. @throws HeddleError INVALID_FILE for a folder */
export function standardInput(): typeof process.stdin {
  if (isFolder(0)) throw new HeddleError("INVALID_FILE", "standard input: expected a file, got a folder");
  return process.stdin;
}

function isFolder(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isDirectory();
  } catch {
    return false; // closed
  }
}
