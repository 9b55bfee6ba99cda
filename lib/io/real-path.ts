import { realpath } from "node:fs/promises";
import { resolve as absolute } from "node:path";

/**
 * Returns the absolute path without symbolic links. On Windows the system's function fails on some virtual drives, and under Wine for paths
 * over 260 characters. Node's own implementation is then used, which keeps the case of letters as given.
 *
 * @throws the error of the file system, such as ENOENT
 */
export async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (process.platform !== "win32") throw error;
    const { realpath: realpathInNode } = await import("node:fs"); // it loads streams, which tokenizers do not need
    return new Promise((resolve, reject) =>
      realpathInNode(path, (failure, found) => (failure ? reject(failure) : resolve(found))),
    );
  }
}

/** Returns the absolute path without symbolic links, or the absolute path as given if it does not exist. */
export function realPathIfAny(path: string): Promise<string> {
  return realPath(path).catch(() => absolute(path));
}
