// Resolves imports of published clients in examples, which import them as a program would.
import { createRequire } from "node:module";
import type { Plugin } from "vitest/config";

/** Packages that examples import. They are installed in the folder that HEDDLE_CLIENTS names. */
const PACKAGES = /^@langchain\/core\//;

/** Returns a vitest plugin that resolves these packages. */
export function publishedClients(folder = process.env.HEDDLE_CLIENTS): Plugin {
  return {
    name: "published-clients",
    enforce: "pre",
    resolveId: (source) =>
      folder !== undefined && PACKAGES.test(source) ? createRequire(`${folder}/`).resolve(source) : undefined,
  };
}
