import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../../shared/fixtures", import.meta.url));

/** The shared models and oracles beside the checkout, or undefined where they do not lie there. */
export const fixtures: string | undefined = existsSync(folder) ? folder : undefined;

if (!fixtures) console.warn(`${folder} does not exist: the tests that need it are skipped`);
