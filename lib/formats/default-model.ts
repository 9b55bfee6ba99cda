// The model that comes with the package.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { HeddleError } from "../errors.ts";

/** The embedded model's folder, models/default of the installed package. @throws NOT_FOUND where it is missing */
export function defaultModelPath(): string {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, "package.json")) && dirname(root) !== root) root = dirname(root);
  const path = join(root, "models", "default");
  if (!existsSync(join(path, "config.json")))
    throw new HeddleError(
      "NOT_FOUND",
      `models/default: expected the embedded model beside package.json, got none (${path}); name a model folder or a .gguf file instead`,
    );
  return path;
}
