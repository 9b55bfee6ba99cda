// The model that comes with the package.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../binding/load.ts";
import { HeddleError } from "../core/errors.ts";

/**
 * Returns the folder of the embedded model, models/default of the installed package.
 * @throws NOT_FOUND if it is missing
 */
export function defaultModelPath(): string {
  const path = join(packageRoot(), "models", "default");
  if (!existsSync(join(path, "config.json")))
    throw new HeddleError(
      "NOT_FOUND",
      `models/default: expected the embedded model next to package.json, found none (${path}); pass a model folder or a .gguf file instead`,
    );
  return path;
}
