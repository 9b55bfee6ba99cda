import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Path of the addon under test, for worker threads that load it directly. */
export function addonPath(): string {
  if (process.env.HEDDLE_BINARY) return process.env.HEDDLE_BINARY;
  const { path } = createRequire(import.meta.url)("node-gyp-build") as { path(folder: string): string };
  return path(fileURLToPath(new URL("../..", import.meta.url)));
}
