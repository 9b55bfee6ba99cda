import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../../shared/fixtures", import.meta.url));

/** The folder of shared models and oracles next to the checkout; undefined if missing. */
export const fixtures: string | undefined = existsSync(folder) ? folder : undefined;

if (!fixtures) console.warn(`${folder} does not exist: the tests that need it are skipped`);
