// Loads modules on first use that most programs never need. `import` would make every start pay for them.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** A function that loads a module at its first call and from then on returns it. */
export function lazily<T>(name: string): () => T {
  let loaded: T | undefined;
  return () => (loaded ??= require(name) as T);
}
