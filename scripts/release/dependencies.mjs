// Checks the packages that users install with heddle: its production dependencies, their licenses and their size.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Licenses whose only condition is that their text and notices are kept. */
export const ALLOWED_LICENSES = ["MIT", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "BlueOak-1.0.0"];
/** Limits of all production dependencies together. Raise them only for a reason. */
export const MAX_PACKAGES = 9;
export const MAX_BYTES = 10_000_000;

/** Returns the production dependencies of the lock file, direct and indirect. Platform packages are excluded. */
export function productionPackages(root) {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return Object.entries(packages)
    .filter(([path, { dev, devOptional, optional }]) => path !== "" && !dev && !devOptional && !optional)
    .map(([path, { version, license }]) => ({
      name: path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length),
      version,
      license,
      bytes: folderBytes(join(root, path)),
    }));
}

/** Returns the size of a folder's files, without packages nested in it. */
function folderBytes(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => name !== "node_modules")
    .map((entry) =>
      entry.isDirectory() ? folderBytes(join(folder, entry.name)) : statSync(join(folder, entry.name)).size,
    )
    .reduce((sum, bytes) => sum + bytes, 0);
}

/** Returns one sentence for each license that is not allowed, and for each limit that is exceeded. */
export function dependencyProblems(packages) {
  const problems = packages
    .filter(({ license }) => !ALLOWED_LICENSES.includes(license))
    .map(
      ({ name, license }) =>
        `${name}: expected one of the licenses ${ALLOWED_LICENSES.join(", ")}, got ${license ?? "none"}`,
    );
  const bytes = packages.reduce((sum, each) => sum + each.bytes, 0);
  if (packages.length > MAX_PACKAGES)
    problems.push(`expected at most ${MAX_PACKAGES} packages, got ${packages.length}`);
  if (bytes > MAX_BYTES) problems.push(`expected at most ${MAX_BYTES} bytes of dependencies, got ${bytes}`);
  return problems;
}
