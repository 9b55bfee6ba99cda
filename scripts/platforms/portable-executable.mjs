// Reads what the loader of Windows will look for in a PE file. GNU objdump prints the tables.
import { spawnSync } from "node:child_process";

/** Returns the processor, needed libraries, and exported names. */
export function readPortableExecutable(path) {
  const { status, stdout, stderr, error } = spawnSync("objdump", ["-p", path], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    env: { ...process.env, LC_ALL: "C" },
  });
  if (error || status !== 0) throw new Error(`objdump -p ${path}: ${error?.message ?? stderr}`);
  const names = stdout.slice(stdout.indexOf("[Ordinal/Name Pointer] Table"));
  return {
    machine: /file format (\S+)/.exec(stdout)?.[1] ?? "",
    needed: [...stdout.matchAll(/DLL Name: (\S+)/g)].map((match) => match[1].toLowerCase()),
    exported: [...names.matchAll(/^\s*\[\s*\d+\].*?(\w+)\s*$/gm)].map((match) => match[1]),
  };
}
