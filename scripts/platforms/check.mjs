// Reports problems of a binary without loading it: what it needs from the system, and what it exports.
import { statSync } from "node:fs";
import { readElf } from "./elf.mjs";
import { readMachO } from "./mach-o.mjs";
import { readPortableExecutable } from "./portable-executable.mjs";
import { ENTRY_POINTS, GLIBC_CEILING } from "./targets.mjs";

const MEGABYTE = 2 ** 20;
/** Returns the maximum size of a target's packed package, in bytes. */
export const sizeLimit = ({ cuda }) => (cuda ? 16 : 8) * MEGABYTE;

const nodeApi = /^(napi|node_api)_/;
const machines = {
  Linux: { x64: "Advanced Micro Devices X86-64", arm64: "AArch64" },
  Darwin: { x64: "x86_64", arm64: "arm64" },
  Windows: { x64: "pei-x86-64" },
};
const libraries = {
  glibc: /^(lib(c\.so\.6|m\.so\.6|pthread\.so\.0|dl\.so\.2|rt\.so\.1)|ld-linux-[\w-]+\.so\.\d)$/,
  musl: /^(libc\.so|libc\.musl-\w+\.so\.1)$/,
  Darwin: /^\/usr\/lib\/libSystem\.B\.dylib$/,
  Windows: /^(kernel32|advapi32|ntdll|ws2_32|msvcrt|ucrtbase|bcrypt|psapi|api-ms-win-crt-[\w-]+)\.dll$/,
};

/** Returns whether version `a` is newer than `b`. Compares numbers: 2.28 is newer than 2.3. */
export function isNewer(a, b) {
  const [x, y] = [a, b].map((version) => version.split(".").map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i += 1)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) > (y[i] ?? 0);
  return false;
}

/** Returns the newest glibc version that an ELF file needs; "" if none. */
export function glibcNeeded(path) {
  const versions = readElf(path).undefinedNames.flatMap(({ version }) => /^GLIBC_([\d.]+)$/.exec(version)?.[1] ?? []);
  return versions.reduce((newest, version) => (isNewer(version, newest || "0") ? version : newest), "");
}

/** Returns a sentence for each symbol that needs a glibc above the ceiling, or a version of another library. */
function tooNew(undefinedNames) {
  return undefinedNames.flatMap(({ name, version }) => {
    const [, library, number] = /^([A-Z]+)_([\d.]+)$/.exec(version) ?? [];
    if (library === undefined) return [];
    if (library !== "GLIBC") return [`${name} needs ${version} of a library that the system may lack`];
    return isNewer(number, GLIBC_CEILING) ? [`${name} needs glibc ${number}, newer than ${GLIBC_CEILING}`] : [];
  });
}

/** Returns a list of sentences, one for each problem of a target's binary. `systemNames` are musl's functions. */
export function problemsOf(target, path, systemNames = undefined) {
  const read = { Linux: readElf, Darwin: readMachO, Windows: readPortableExecutable }[target.system];
  const binary = read(path);
  const problems = [];
  const machine = machines[target.system][target.cpu];
  if (binary.machine !== machine) problems.push(`expected code for ${machine}, got ${binary.machine}`);
  const allowed = libraries[target.libc ?? target.system];
  for (const library of binary.needed) if (!allowed.test(library)) problems.push(`${library} is needed`);
  for (const name of ENTRY_POINTS) if (!binary.exported.includes(name)) problems.push(`${name} is not exported`);
  // On Windows a symbol is bound to its library, so other exports (those of Zig's unwinder) cannot replace symbols of other libraries.
  if (target.system !== "Windows")
    for (const name of binary.exported) if (!ENTRY_POINTS.includes(name)) problems.push(`${name} is exported`);
  if (target.system === "Linux") {
    if (binary.executableStack) problems.push("the stack is executable");
    if (binary.staticThreadStorage)
      problems.push("thread-local storage is static, and may be full when Node loads the addon");
    problems.push(...tooNew(binary.undefinedNames));
    const unknown = binary.undefinedNames.filter(
      ({ name, version, weak }) => version === "" && !weak && !nodeApi.test(name) && !systemNames?.has(name),
    );
    for (const { name } of unknown) problems.push(`nothing defines ${name}`);
  }
  if (target.system === "Darwin") {
    for (const name of binary.lookedUp) if (!nodeApi.test(name)) problems.push(`nothing defines ${name}`);
    if (isNewer(binary.oldest, "11.0")) problems.push(`macOS ${binary.oldest} is needed`);
    if (target.cpu === "arm64" && !binary.signed) problems.push("the file has no signature, which arm64 requires");
  }
  if (statSync(path).size > 64 * MEGABYTE) problems.push("the file has more than 64 MB");
  return problems;
}
