import { readFileSync } from "node:fs";

/** The system libraries that a Linux binary requires. */
export interface BinaryNeeds {
  /** The C library that it was built for. Undefined if the file is not a Linux binary. */
  libc?: "glibc" | "musl";
  /** The newest version of glibc that the binary's symbols need. */
  glibc?: string;
  /** The newest version of libstdc++ (GLIBCXX) that the binary's symbols need. */
  glibcxx?: string;
}

/**
 * Reads which libraries an ELF file requires from its symbol versions. The names of the versions are plain text in the file's string table.
 * The dynamic linker compares them with the versions of the installed libraries.
 */
export function binaryNeeds(path: string): BinaryNeeds {
  const bytes = readFileSync(path);
  if (bytes.subarray(0, 4).toString("latin1") !== "\x7fELF") return {};
  const text = bytes.toString("latin1");
  const versions = (name: string) =>
    newest([...text.matchAll(new RegExp(`\\0${name}_(\\d+(?:\\.\\d+)+)(?=\\0)`, "g"))]);
  const glibc = versions("GLIBC");
  const glibcxx = versions("GLIBCXX");
  const libc = glibc !== undefined ? "glibc" : /\0libc\.musl-|\0libc\.so\0/.test(text) ? "musl" : undefined;
  return { ...(libc && { libc }), ...(glibc && { glibc }), ...(glibcxx && { glibcxx }) };
}

function newest(found: RegExpMatchArray[]): string | undefined {
  return found
    .map(([, version]) => version!)
    .sort(compareVersions)
    .at(-1);
}

/** Compares versions such as "2.9" and "2.28" by their numbers. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
