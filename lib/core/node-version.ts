// Checks that the package supports the running version of Node. This module is evaluated before all others. It therefore imports nothing, and
// uses no syntax or function that an old Node lacks.

/** The oldest supported version. It equals `engines` in package.json. */
export const OLDEST_NODE = "20.4";

/** Returns the problem with a version of Node, or undefined for a supported version. */
export function nodeVersionProblem(version: string): string | undefined {
  const [major, minor] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE.split(".").map(Number);
  const isSupported = major! > oldestMajor! || (major === oldestMajor && minor! >= oldestMinor!);
  return isSupported ? undefined : `node: expected version ${OLDEST_NODE} or newer, got ${version}`;
}

const problem = nodeVersionProblem(process.versions.node);
if (problem !== undefined) throw Object.assign(new Error(`heddle: ${problem}`), { code: "UNSUPPORTED" });
