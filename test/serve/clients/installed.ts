// Loads the published clients of versions.json from the folder that HEDDLE_CLIENTS names. They are installed on demand.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const folder = process.env.HEDDLE_CLIENTS;

/**
 * Loads a client by its module name, such as `openai` or `openai/helpers/zod`. Without HEDDLE_CLIENTS it prints a warning and returns
 * undefined, so that a test file can skip its tests. A client that the named folder lacks is an error.
 */
export function client<T>(name: string): Promise<T> | undefined {
  if (folder === undefined) {
    console.warn(`HEDDLE_CLIENTS is not set: the server is not tested with ${name}`);
    return undefined;
  }
  return import(pathToFileURL(createRequire(`${folder}/`).resolve(name)).href) as Promise<T>;
}
