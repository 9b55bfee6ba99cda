// Builds libstdc++.so.6 for musl programs on a glibc machine. Alpine has it as a package; Debian does not.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readElf } from "../../../scripts/platforms/elf.mjs";
import { mustRun, toolsFolder } from "../../../scripts/platforms/tools.mjs";

/** Functions of glibc that GCC's static library calls, and musl lacks. */
const missing = `
#include <stddef.h>
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;
char __libc_single_threaded = 0;
int getentropy(void *, size_t);
unsigned arc4random(void) { unsigned n; getentropy(&n, sizeof n); return n; }
int _dl_find_object(void *address, void *result) { (void)address; (void)result; return -1; }
size_t strftime_l(char *, size_t, const char *, const void *, void *);
size_t __strftime_l(char *s, size_t n, const char *f, const void *t, void *l) { return strftime_l(s, n, f, t, l); }
`;

/** Returns a folder with a libstdc++.so.6 that has the functions a program needs. */
export function buildMuslLibrary(program: string): string {
  const folder = join(toolsFolder, "musl");
  const library = join(folder, "libstdc++.so.6");
  if (existsSync(library)) return folder;
  mkdirSync(folder, { recursive: true });
  const source = join(folder, "missing.c");
  writeFileSync(source, missing);
  const archive = (name: string) => execFileSync("g++", [`-print-file-name=${name}`], { encoding: "utf8" }).trim();
  const ofMusl = new Set<string>(readElf("/lib/ld-musl-x86_64.so.1").exported);
  const wanted = readElf(program)
    .undefinedNames.map(({ name }: { name: string }) => name)
    .filter((name: string) => !ofMusl.has(name));
  const options = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-nostdlib", "-nostartfiles"];
  const archives = ["libstdc++.a", "libgcc_eh.a", "libgcc.a"].map(archive);
  const link = ["-Wl,-soname,libstdc++.so.6", ...wanted.map((name: string) => `-Wl,-u,${name}`)];
  const unfinished = `${library}.${process.pid}`;
  mustRun("gcc", [...options, "-o", unfinished, source, ...link, "-Wl,--start-group", ...archives, "-Wl,--end-group"]);
  renameSync(unfinished, library);
  return folder;
}
