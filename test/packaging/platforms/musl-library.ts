// Builds libstdc++.so.6 for musl programs on a glibc machine. Alpine has it as a package; Debian does not.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readElf } from "../../../scripts/platforms/elf.mjs";
import { mustRun, toolsFolder } from "../../../scripts/platforms/tools.mjs";

/** Functions of glibc that GCC's static libraries call, and musl lacks. */
const missing = `
#include <stddef.h>
__attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle;
char __libc_single_threaded = 0;
int getentropy(void *, size_t);
unsigned arc4random(void) { unsigned n; getentropy(&n, sizeof n); return n; }
int _dl_find_object(void *address, void *result) { (void)address; (void)result; return -1; }
size_t strftime_l(char *, size_t, const char *, const void *, void *);
size_t __strftime_l(char *s, size_t n, const char *f, const void *t, void *l) { return strftime_l(s, n, f, t, l); }
unsigned long strtoul(const char *, char **, int);
unsigned long __isoc23_strtoul(const char *s, char **end, int base) { return strtoul(s, end, base); }
unsigned long getauxval(unsigned long);
unsigned long __getauxval(unsigned long kind) { return getauxval(kind); }
`;

/**
 * Returns a folder with a libstdc++.so.6 that has the functions a program needs. Programs that need other functions have their own folders.
 * @param libc musl's library, of the program's processor
 * @param compiler prefix of the names of the processor's GCC, such as "aarch64-linux-gnu-"
 */
export function buildMuslLibrary(program: string, libc: string, compiler = ""): string {
  const ofMusl = new Set<string>(readElf(libc).exported);
  const wanted: string[] = readElf(program)
    .undefinedNames.map(({ name }: { name: string }) => name)
    .filter((name: string) => !ofMusl.has(name));
  const hash = createHash("sha256").update(wanted.toSorted().join()).digest("hex").slice(0, 8);
  const folder = join(toolsFolder, `${compiler}musl-${hash}`);
  const library = join(folder, "libstdc++.so.6");
  if (existsSync(library)) return folder;
  mkdirSync(folder, { recursive: true });
  const source = join(folder, "missing.c");
  writeFileSync(source, missing);
  const archive = (name: string) =>
    execFileSync(`${compiler}g++`, [`-print-file-name=${name}`], { encoding: "utf8" }).trim();
  const options = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-nostdlib", "-nostartfiles"];
  const archives = ["libstdc++.a", "libgcc_eh.a", "libgcc.a"].map(archive);
  const link = ["-Wl,-soname,libstdc++.so.6", ...wanted.map((name) => `-Wl,-u,${name}`)];
  const unfinished = `${library}.${process.pid}`;
  mustRun(`${compiler}gcc`, [
    ...options,
    "-o",
    unfinished,
    source,
    ...link,
    "-Wl,--start-group",
    ...archives,
    "-Wl,--end-group",
  ]);
  renameSync(unfinished, library);
  return folder;
}
