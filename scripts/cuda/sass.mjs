// Decodes the machine code (SASS) of a cubin without CUDA's tools: opcodes, branches, widths of accesses, and the control bits that ptxas set.
// An instruction has 16 bytes since compute capability 7.0. The fields were found by compiling known PTX with nvcc 13.0.
import { readFileSync } from "node:fs";
import { sectionsIn } from "./binaries.mjs";
import { mnemonicOf } from "./opcodes.mjs";

const ATTRIBUTE = { maxThreads: 0x05, registers: 0x2f, indirectTargets: 0x34 };
const FORMAT_WITH_SIZE = 4;
const NO_PREDICATE = 7; // the always true predicate PT

/**
 * @typedef {object} Instruction
 * @property {number} address in bytes from the kernel's start
 * @property {string} name the mnemonic without modifiers
 * @property {boolean} conditional whether a predicate may skip it
 * @property {number} width bits per lane of a load or store, or matrices of an ldmatrix
 * @property {number} stall clocks until the warp may issue its next instruction
 * @property {number} sets the scoreboard (0 to 5) that its result releases, or -1
 * @property {number} open groups of wgmma that may stay open after a wait for them, or -1
 * @property {number} waits a bit mask of the scoreboards that it waits for
 * @property {number[]} targets addresses to which it may branch
 */

/** Returns the attributes of a section `.nv.info*`, as [number, content]. */
function* attributesOf(content) {
  for (let at = 0; at + 4 <= content.length; ) {
    const [format, number, size] = [content[at], content[at + 1], content.readUInt16LE(at + 2)];
    at += 4;
    if (format === FORMAT_WITH_SIZE) {
      yield [number, content.subarray(at, at + size)];
      at += size;
    } else yield [number, Buffer.of(size & 255, size >> 8)];
  }
}

/**
 * Returns what a cubin says about each of its kernels: code, registers per thread, bytes of static shared memory, and the most threads of a
 * block (__launch_bounds__).
 * @returns {{ capability: number, kernels: Map<string, { code: Instruction[], registers: number, shared: number, threads: number }> }}
 */
export function readCubin(path) {
  const file = readFileSync(path);
  const sections = sectionsIn(file, path);
  const named = new Map(sections.map((s) => [s.name, s]));
  const capability = (file.readUInt32LE(48) >> 8) & 255;
  const symbols = named.get(".symtab").content;
  const strings = named.get(".strtab").content;
  const nameOf = (symbol) => {
    const at = symbols.readUInt32LE(symbol * 24);
    return strings.toString("latin1", at, strings.indexOf(0, at));
  };
  const registers = new Map();
  for (const [number, content] of attributesOf(named.get(".nv.info").content))
    if (number === ATTRIBUTE.registers) registers.set(nameOf(content.readUInt32LE(0)), content.readUInt32LE(4));
  const kernels = new Map();
  for (const { name: section, content } of sections) {
    if (!section.startsWith(".text.")) continue;
    const name = section.slice(".text.".length);
    let threads = 1024;
    const indirect = new Map();
    for (const [number, bytes] of attributesOf(named.get(`.nv.info.${name}`)?.content ?? Buffer.alloc(0))) {
      const word = (i) => bytes.readUInt32LE(4 * i);
      if (number === ATTRIBUTE.maxThreads) threads = word(0) * word(1) * word(2);
      // A list of: address of the branch, 0, number of targets, targets.
      if (number === ATTRIBUTE.indirectTargets)
        for (let i = 0; 4 * i < bytes.length; ) {
          const count = word(i + 2);
          indirect.set(
            word(i),
            Array.from({ length: count }, (_, t) => word(i + 3 + t)),
          );
          i += 3 + count;
        }
    }
    kernels.set(name, {
      code: decode(content, capability, indirect),
      registers: registers.get(name) ?? 0,
      shared: named.get(`.nv.shared.${name}`)?.size ?? 0,
      threads,
    });
  }
  return { capability, kernels };
}

/** Decodes the code of one kernel. `indirect` has the targets of indirect branches by address. */
export function decode(code, capability, indirect = new Map()) {
  const list = [];
  for (let at = 0; at + 16 <= code.length; at += 16) {
    const word = (code.readBigUInt64LE(at + 8) << 64n) | code.readBigUInt64LE(at);
    const bits = (from, count) => Number((word >> BigInt(from)) & ((1n << BigInt(count)) - 1n));
    const name = mnemonicOf(bits(0, 12));
    const guard = bits(12, 3);
    const conditional =
      guard !== NO_PREDICATE || (/^(BRA|EXIT)$/.test(name) && (bits(87, 3) !== NO_PREDICATE || bits(91, 3) !== 0));
    list.push({
      address: at,
      name,
      barrier: name === "BSSY" || name === "BSYNC" ? bits(16, 4) : -1,
      conditional,
      never: guard === NO_PREDICATE && bits(15, 1) === 1,
      width: widthOf(name, bits, capability),
      // WARPGROUP.DEPBAR waits until at most this many groups of products are open. -1: WARPGROUP.ARRIVE, or another instruction.
      open: name === "WARPGROUP" && bits(47, 1) ? bits(72, 3) : -1,
      stall: Math.max(1, bits(105, 4)),
      sets: bits(110, 3) === 7 ? -1 : bits(110, 3),
      reads: bits(113, 3) === 7 ? -1 : bits(113, 3),
      waits: bits(116, 6),
      targets: targetsOf(name, at, word, capability, indirect),
    });
  }
  return list;
}

const WIDTHS = [8, 8, 16, 16, 32, 64, 128, 128];

function widthOf(name, bits, capability) {
  if (name === "LDGSTS" && capability >= 100) return [32, 64, 128, 128][bits(74, 2)];
  if (/^(LDG|STG|LDS|STS|LDL|STL|LDGSTS)$/.test(name)) return WIDTHS[bits(73, 3)];
  if (name === "LDSM") return [1, 2, 4, 4][bits(72, 2)];
  return 32;
}

function targetsOf(name, at, word, capability, indirect) {
  if (/^BRXU?$/.test(name)) return indirect.get(at) ?? [];
  if (!/^(BRA|BSSY|CALL)$/.test(name)) return [];
  // The offset from the next instruction. Since compute capability 9.0, BRA and CALL have its low eight bits (in units of 4 bytes) elsewhere.
  const offset =
    capability >= 90 && name !== "BSSY"
      ? (BigInt.asIntN(48, (word >> 34n) & ((1n << 48n) - 1n)) * 256n + ((word >> 16n) & 255n)) * 4n
      : BigInt.asIntN(40, (word >> 32n) & ((1n << 40n) - 1n)); // BSSY has flags above its offset since 10.0
  return [at + 16 + Number(offset & ~15n)]; // the lowest bits are flags of some branches
}

/** Returns the code as text, one instruction a line, with the facts that the forecast uses. */
export function listing(code) {
  return code
    .map((i) =>
      [
        i.address.toString(16).padStart(4, "0"),
        i.conditional ? "@P" : "",
        i.name,
        i.width === 32 ? "" : i.width,
        i.targets.map((t) => `-> ${t.toString(16)}`).join(" "),
      ]
        .filter((part) => part !== "")
        .join(" "),
    )
    .join("\n");
}
