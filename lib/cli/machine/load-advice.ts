// Advice for an addon that does not load, derived from the message of the system's loader.
import type { BinaryNeeds } from "./binary-needs.ts";

const BUILD = "install a C++17 compiler and run `npm rebuild heddle --build-from-source`";
const REINSTALL = "delete node_modules and run `npm install` on this machine";

/** Messages of loaders (glibc, musl, macOS, Windows) and what they mean. The first that matches is taken. */
const CAUSES: readonly [pattern: RegExp, advice: (found: RegExpExecArray) => string][] = [
  [/GLIBC_([\d.]+)'? not found/, ([, version]) => `the addon needs glibc ${version}: use a newer system, or ${BUILD}`],
  [
    /(?:GLIBCXX|CXXABI)_[\d.]+'? not found/,
    ([name]) =>
      `the addon needs a newer libstdc++ (${name.replace(/'? not found/, "")}): use a newer system, or ${BUILD}`,
  ],
  [
    /invalid ELF header|wrong ELF class|Exec format error|cannot open shared object file: No such device|incompatible architecture|not a mach-o file|not a valid Win32/i,
    () => `the addon is for another platform or is damaged: ${REINSTALL}`,
  ],
  [
    /failed to map segment|Operation not permitted|Permission denied/,
    () =>
      "the system does not allow running files in this folder: if the folder is mounted with noexec, move the project or allow execution",
  ],
  [
    /(\S+\.so[\d.]*): cannot open shared object file|Error loading shared library (\S+):/,
    (found) => `the system lacks ${found[1] ?? found[2]}: install the package that has it, or ${BUILD}`,
  ],
  [
    /Library not loaded|specified module could not be found/,
    () => `the system lacks a library that the addon needs: ${REINSTALL}`,
  ],
  [/SIGILL/, () => `the processor lacks an instruction that the addon uses: ${BUILD}`],
];

/** Returns what to do about an addon that does not load. @param libc the system's C library, for example "musl" or "glibc 2.36" */
export function loadAdvice(problem: string, needs: BinaryNeeds, libc: string | undefined): string {
  const own = libc?.split(" ")[0];
  if (needs.libc !== undefined && own !== undefined && needs.libc !== own)
    return `the addon was built for ${needs.libc}, and this system has ${own}: ${REINSTALL}`;
  for (const [pattern, advice] of CAUSES) {
    const found = pattern.exec(problem);
    if (found !== null) return advice(found);
  }
  return BUILD;
}
