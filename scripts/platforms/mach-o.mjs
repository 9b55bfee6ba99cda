// Reads what the dynamic linker of macOS will look for in a Mach-O file of one 64-bit processor (mach-o/loader.h).
import { readFileSync } from "node:fs";

const MAGIC = 0xfeedfacf;
const SYMTAB = 0x2;
const LOAD_DYLIB = 0xc;
const VERSION_MIN = 0x24;
const BUILD_VERSION = 0x32;
const CODE_SIGNATURE = 0x1d;
/** Value of the high byte of n_desc if any loaded file may define the symbol. Otherwise the byte is the number of a library. */
const DYNAMIC_LOOKUP = 0xfe;

/**
 * Returns the processor, needed libraries, exported names, names that any loaded file may define, the oldest macOS, and whether the file is
 * signed. Other undefined names belong to one of the needed libraries, where the linker found them.
 */
export function readMachO(path) {
  const file = readFileSync(path);
  if (file.readUInt32LE(0) !== MAGIC) throw new Error(`${path}: not a 64-bit Mach-O file`);
  const found = {
    machine: { 16777223: "x86_64", 16777228: "arm64" }[file.readUInt32LE(4)] ?? "unknown",
    needed: [],
    exported: [],
    lookedUp: [],
    oldest: "",
    signed: false,
  };
  const text = (at) => file.toString("utf8", at, file.indexOf(0, at));
  const version = (packed) => `${packed >> 16}.${(packed >> 8) & 255}`;
  // The load commands follow the header of 32 bytes. Each has its type and its size in its first two words.
  for (let at = 32, left = file.readUInt32LE(16); left > 0; left -= 1, at += file.readUInt32LE(at + 4)) {
    // The highest bit marks commands that the loader must support.
    const command = file.readUInt32LE(at) & 0x7fffffff;
    if (command === LOAD_DYLIB) found.needed.push(text(at + file.readUInt32LE(at + 8)));
    if (command === VERSION_MIN) found.oldest = version(file.readUInt32LE(at + 8));
    if (command === BUILD_VERSION) found.oldest = version(file.readUInt32LE(at + 12));
    if (command === CODE_SIGNATURE) found.signed = true;
    if (command === SYMTAB) readSymbols(at);
  }
  return found;

  function readSymbols(at) {
    const [symbols, count, strings] = [8, 12, 16].map((offset) => file.readUInt32LE(at + offset));
    for (let entry = symbols; entry < symbols + 16 * count; entry += 16) {
      const type = file[entry + 4];
      // Skip debugging entries and local symbols.
      if ((type & 0xe0) !== 0 || (type & 0x01) === 0) continue;
      const name = text(strings + file.readUInt32LE(entry)).replace(/^_/, "");
      if ((type & 0x0e) !== 0) found.exported.push(name);
      else if (file[entry + 7] === DYNAMIC_LOOKUP) found.lookedUp.push(name);
    }
  }
}
