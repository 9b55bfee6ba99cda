// Reads what the loader of Windows will look for in a PE file. GNU objdump prints the tables.
import { mustRun } from "./tools.mjs";

/** Returns the processor, needed libraries, and exported names. */
export function readPortableExecutable(path) {
  const stdout = mustRun("objdump", ["-p", path], { env: { ...process.env, LC_ALL: "C" } });
  const names = stdout.slice(stdout.indexOf("[Ordinal/Name Pointer] Table"));
  return {
    machine: /file format (\S+)/.exec(stdout)?.[1] ?? "",
    needed: [...stdout.matchAll(/DLL Name: (\S+)/g)].map((match) => match[1].toLowerCase()),
    exported: [...names.matchAll(/^\s*\[\s*\d+\].*?(\w+)\s*$/gm)].map((match) => match[1]),
  };
}
