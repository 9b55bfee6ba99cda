// Reads what the dynamic linker will look for in an ELF file. Uses GNU readelf, which knows every processor.
import { mustRun } from "./tools.mjs";

const readelf = (...args) => mustRun("readelf", ["-W", ...args], { env: { ...process.env, LC_ALL: "C" } });

/**
 * Returns what the dynamic linker needs to know about a file: its processor, needed libraries, and exported and undefined names. Undefined names
 * have the version that they need, or "". `staticThreadStorage` says whether thread-local variables must be in the space that a program
 * reserves when it starts.
 */
export function readElf(path) {
  const dynamic = readelf("-d", path);
  const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
  const machine = /Machine:\s*(.*)/.exec(readelf("-h", path))?.[1] ?? "";
  const staticThreadStorage = /\(FLAGS\).*\bSTATIC_TLS\b/.test(dynamic);
  const executableStack = /GNU_STACK.*\bRWE\b/.test(readelf("-l", path));
  const exported = [];
  const undefinedNames = [];
  // Num: Value Size Type Bind Vis Ndx Name[@Version]
  const row = /^\s*\d+: \S+\s+\S+\s+\S+\s+(GLOBAL|WEAK)\s+\S+\s+(\S+)\s+(\S+)/gm;
  for (const [, binding, index, symbol] of readelf("--dyn-syms", path).matchAll(row)) {
    const [name, version = ""] = symbol.split(/@+/);
    if (index !== "UND") exported.push(name);
    else undefinedNames.push({ name, version, weak: binding === "WEAK" });
  }
  return { machine, needed, exported, undefinedNames, executableStack, staticThreadStorage };
}
