// Reads ELF sections, and instructions by opcode, from object files and cubins without CUDA's tools.
import { readFileSync } from "node:fs";
import { mnemonicOf, unitOf } from "./opcodes.mjs";

const ALLOC = 2; // SHF_ALLOC: kept when a file is stripped
const NOBITS = 8; // SHT_NOBITS: takes no space in the file

/** Returns the sections of an ELF64 file: name, content, number of bytes, and whether strip keeps the section. */
export function sectionsOf(path) {
  return sectionsIn(readFileSync(path), path);
}

/** Like sectionsOf, for the content of a file. */
export function sectionsIn(file, path) {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2) throw new Error(`${path}: not an ELF64 file`);
  // Fields of the ELF header: e_shoff, e_shentsize, e_shnum and e_shstrndx.
  const table = Number(file.readBigUInt64LE(40));
  const [entry, count, names] = [58, 60, 62].map((at) => file.readUInt16LE(at));
  const sections = Array.from({ length: count }, (_, i) => {
    const at = table + i * entry;
    const number = (offset) => Number(file.readBigUInt64LE(at + offset));
    const [type, offset, size] = [file.readUInt32LE(at + 4), number(24), number(32)];
    const bytes = type === NOBITS ? 0 : size;
    return {
      name: file.readUInt32LE(at),
      kept: (number(8) & ALLOC) !== 0,
      bytes,
      size, // also of a section without content in the file
      content: file.subarray(offset, offset + bytes),
    };
  });
  const strings = sections[names].content;
  return sections.map((s) => ({ ...s, name: strings.toString("latin1", s.name, strings.indexOf(0, s.name)) }));
}

/**
 * Tensor-core, asynchronous and dependency instructions since sm_80, with their opcode and PTX. The opcode is in the low twelve bits of the 16 bytes of an
 * instruction. Byte 10 distinguishes instructions that share an opcode. The opcodes were found by compiling each instruction.
 */
export const instructions = {
  wgmma: { opcode: 0x9f0, ptx: /\bwgmma\.mma_async\S*\.bf16\b[^;]*\}, %rd/g }, // HGMMA, a in shared memory
  "wgmma.left": { opcode: 0xdf0, ptx: /\bwgmma\.mma_async\S*\.bf16\b[^;]*\}, \{/g }, // HGMMA, a in registers
  "wgmma.e4m3": { opcode: 0x9f3, ptx: /\bwgmma\.mma_async\S*\.e4m3\b/g }, // QGMMA
  // HMMA.16816.F32.BF16 and HMMA.1688.F32.TF32: byte 10 distinguishes them.
  mma: { opcode: 0x23c, kind: (at10) => at10 !== 8, ptx: /\bmma\.sync\.\S*\.f32\.(bf16|f16)\b/g },
  "mma.tf32": { opcode: 0x23c, kind: (at10) => at10 === 8, ptx: /\bmma\.sync\.\S*\.f32\.tf32\b/g },
  "mma.s8": { opcode: 0x237, ptx: /\bmma\.sync\.\S*\.s32\b/g },
  "mma.e4m3": { opcode: 0x27a, ptx: /\bmma\.sync\.\S*\.f32\.e4m3\b/g }, // QMMA
  ldmatrix: { opcode: 0x83b, ptx: /\bldmatrix\.sync\b/g },
  "cp.async": { opcode: 0xfae, ptx: /\bcp\.async\.c[ag]\b/g },
  "bulk.add": { opcode: 0x3bb, ptx: /\bcp\.reduce\.async\.bulk\b/g }, // UBLKRED
  tma: { opcode: 0x5b4, ptx: /\bcp\.async\.bulk\.tensor\.\dd\.shared\b/g }, // UTMALDG
  "tma.store": { opcode: 0x3b5, ptx: /\bcp\.async\.bulk\.tensor\.\dd\.global\b/g }, // UTMASTG
  "mbarrier.wait": { opcode: 0x5a7, ptx: /\bmbarrier\.try_wait\b/g },
  "mbarrier.arrive": { opcode: 0x9a7, ptx: /\bmbarrier\.arrive\b/g },
  setmaxnreg: { opcode: 0x9c8, ptx: /\bsetmaxnreg\b/g },
  "grid.wait": { opcode: 0x82e, ptx: /\bgriddepcontrol\.wait\b/g }, // ACQBULK
};

/** For each kernel of a cubin, by its mangled name, counts the occurrences of each of `instructions`, and all instructions. */
export function countInstructions(cubin) {
  const kernels = new Map();
  for (const { name, content } of sectionsOf(cubin)) {
    if (!name.startsWith(".text.")) continue;
    const counts = { all: content.length / 16 };
    for (const kind of Object.keys(instructions)) counts[kind] = 0;
    for (let at = 0; at < content.length; at += 16) {
      const opcode = content.readUInt16LE(at) & 0xfff;
      for (const [name, { opcode: own, kind }] of Object.entries(instructions))
        if (opcode === own && (kind === undefined || kind(content[at + 10]))) counts[name] += 1;
    }
    kernels.set(name.slice(".text.".length), counts);
  }
  return kernels;
}

/**
 * For each kernel of a cubin that waits for the kernel before it (griddepcontrol.wait), returns the accesses of global memory before the wait, by
 * mnemonic. They would race with that kernel. Prefetches of tensor maps and accesses of local memory do not count.
 */
export function accessesBeforeWait(cubin) {
  const found = new Map();
  for (const { name, content } of sectionsOf(cubin)) {
    if (!name.startsWith(".text.")) continue;
    const before = [];
    for (let at = 0; at < content.length; at += 16) {
      const opcode = content.readUInt16LE(at) & 0xfff;
      const mnemonic = mnemonicOf(opcode);
      if (opcode === instructions["grid.wait"].opcode) {
        found.set(name.slice(".text.".length), before);
        break;
      }
      if (unitOf(mnemonic) === "global" && !/^(LDL|STL|UTMAPF|CCTL)$/.test(mnemonic)) before.push(mnemonic);
    }
  }
  return found;
}

/** Returns the kernels of a PTX file, as pairs of name and text. */
const entriesOf = (ptxFile) =>
  [...readFileSync(ptxFile, "utf8").matchAll(/^(?:\.visible )?\.entry (\w+)\(([\s\S]*?)^\}$/gm)].map(
    ([, name, body]) => [name, body],
  );

/** For each kernel of a PTX file, counts the occurrences of each of `instructions`. */
export const writtenInstructions = (ptxFile) =>
  new Map(
    entriesOf(ptxFile).map(([name, body]) => [
      name,
      Object.fromEntries(Object.entries(instructions).map(([kind, { ptx }]) => [kind, (body.match(ptx) ?? []).length])),
    ]),
  );

/**
 * Returns the kernels of a PTX file that wait for the kernel before them, but use ld.global.nc. Such loads are not part of PTX's memory
 * consistency model, so the wait does not order them.
 */
export const unorderedLoads = (ptxFile) =>
  entriesOf(ptxFile)
    .filter(([, body]) => /\bgriddepcontrol\.wait\b/.test(body) && /\bld\.global\.nc\b/.test(body))
    .map(([name]) => name);

/** Returns the function's name without namespaces and parameters. */
export function plainName(mangled) {
  const names = [];
  for (let rest = mangled.replace(/^_ZN?/, ""); ; ) {
    const match = /^(\d+)/.exec(rest);
    if (!match) break;
    const length = Number(match[1]);
    names.push(rest.slice(match[1].length, match[1].length + length));
    rest = rest.slice(match[1].length + length);
  }
  return names.at(-1) ?? mangled;
}
