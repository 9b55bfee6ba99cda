import { expect, test } from "vitest";
import { loadAdvice } from "../../../lib/cli/machine/load-advice.ts";

const glibc = { libc: "glibc" as const, glibc: "2.38" };

// Messages as the loaders of glibc, musl, macOS and Windows print them. The last two are heddle's own and an unknown one.
test.each([
  [
    "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /a/heddle.node)",
    /^the addon needs glibc 2\.38: use a newer/,
  ],
  [
    "/usr/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /a)",
    /newer libstdc\+\+ \(GLIBCXX_3\.4\.30\)/,
  ],
  ["/a/heddle.node: invalid ELF header", /^the addon is for another platform or is damaged: delete node_modules/],
  ["/a/heddle.node: wrong ELF class: ELFCLASS32", /^the addon is for another platform/],
  [
    "dlopen(/a/heddle.node, 0x0001): tried: '/a' (mach-o file, but is an incompatible architecture (have 'x86_64'))",
    /another platform/,
  ],
  ["\\\\?\\C:\\a\\heddle.node is not a valid Win32 application.", /another platform/],
  ["/a/heddle.node: failed to map segment from shared object", /mounted with noexec/],
  [
    "libstdc++.so.6: cannot open shared object file: No such file or directory",
    /^the system lacks libstdc\+\+\.so\.6: install/,
  ],
  [
    "Error loading shared library libgcc_s.so.1: No such file or directory (needed by /a/heddle.node)",
    /^the system lacks libgcc_s\.so\.1:/,
  ],
  ["The specified module could not be found.", /^the system lacks a library that the addon needs/],
  ["the native addon ended the process with SIGILL", /^the processor lacks an instruction/],
  ["something new", /^install a C\+\+17 compiler and run `npm rebuild heddle/],
])("advises on the loader's message: %s", (problem, expected) => {
  expect(loadAdvice(problem, glibc, "glibc 2.36")).toMatch(expected);
});

test("advises that the addon is for another C library, whatever the loader's message is", () => {
  expect(loadAdvice("Error relocating /a: __memcpy_chk: symbol not found", glibc, "musl")).toBe(
    "the addon was built for glibc, and this system has musl: delete node_modules and run `npm install` on this machine",
  );
  expect(loadAdvice("libc.musl-x86_64.so.1: cannot open shared object file", { libc: "musl" }, "glibc 2.36")).toMatch(
    /^the addon was built for musl, and this system has glibc:/,
  );
});
