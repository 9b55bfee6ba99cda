// Resolves imports of published clients in examples, which import them as a program would.
import { createRequire } from "node:module";
import type { Plugin } from "vitest/config";

/** Packages that examples import and that are installed where HEDDLE_CLIENTS says. */
const PACKAGES = /^@langchain\/core\//;

/** A plugin for vitest. */
export function publishedClients(folder = process.env.HEDDLE_CLIENTS): Plugin {
  return {
    name: "published-clients",
    enforce: "pre",
    resolveId: (source) =>
      folder !== undefined && PACKAGES.test(source) ? createRequire(`${folder}/`).resolve(source) : undefined,
  };
}
