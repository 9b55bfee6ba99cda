// Loads rarely needed modules on first use. A static import would slow down every start.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** Returns a function that loads a module on its first call and returns the same module afterwards. */
export function lazily<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => (loaded ??= require(name) as T);
}
