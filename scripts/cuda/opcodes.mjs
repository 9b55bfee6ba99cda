// Opcodes of SASS since compute capability 8.0, and the unit that executes each. The low nine bits of an opcode name the operation. The three
// bits above them say where operands are (register, constant, immediate). Opcodes were identified by compiling PTX with known instructions,
// those of the last line of `uniform` and FMNMX3 by the code around them. UFP and UINT are several operations on uniform registers.

/**
 * Mnemonics by unit. Each list has pairs of an opcode's low nine bits and a mnemonic. LD and ST, which may access any memory, count as accesses
 * of global memory.
 */
const BY_UNIT = {
  tensor: "03c HMMA 037 IMMA 07a QMMA 1f0 HGMMA 1f3 QGMMA",
  fma: "020 FMUL 021 FADD 023 FFMA 030 HADD2 031 HFMA2 032 HMUL2 035 HFMA2 024 IMAD 025 IMAD.WIDE 026 IDP 027 IMAD.HI",
  alu: `002 MOV 003 P2R 004 R2P 005 CS2R 006 VOTE 007 SEL 008 FSEL 009 FMNMX 00a FSET 00b FSETP 00c ISETP 010 IADD3 011 LEA 012 LOP3 013 IABS
    016 PRMT 017 IMNMX 019 SHF 01a SGXT 01b BMSK 01c PLOP3 022 FSWZADD 033 HSET2 034 HSETP2 036 VIADD 039 I2IP 03e F2FP 040 HMNMX2 045 I2FP
    048 VIMNMX 00f VIMNMX3 046 VIADDMNMX 02f ELECT 076 FMNMX3`,
  double: "028 DMUL 029 DADD 02a DSETP 02b DFMA",
  special: `100 FLO 101 BREV 102 FCHK 104 F2F 105 F2I 106 I2F 107 FRND 108 MUFU 109 POPC 110 F2F 111 F2I 112 I2F 113 FRND 119 S2R 1c3 S2UR
    1c4 REDUX 1a1 MATCH`,
  shared: "03b LDSM 184 LDS 188 STS 189 SHFL 18c ATOMS 18d ATOMS.CAS",
  global: `180 LDG 181 LDG 183 LDL 185 STG 186 STG 187 STL 18a ATOM 18e RED 1a6 RED 1a8 ATOMG 1a9 ATOMG.CAS 1ae LDGSTS 1b4 UTMALDG 1b5 UTMASTG
    1ba UBLKCP 1bb UBLKRED 1b9 UTMAPF 18f CCTL 1aa LDG 1a3 ATOMG`,
  uniform: `082 UMOV 083 UP2UR 086 VOTEU 087 USEL 08c UISETP 090 UIADD3 091 ULEA 092 ULOP3 096 UPRMT 099 USHF 09a USGXT 09b UBMSK 09c UPLOP3
    0a4 UIMAD 0a5 UIMAD.WIDE 0a7 UIMAD.HI 0b9 ULDC 0bb ULDC 0bd UFLO 0be UBREV 0bf UPOPC 0ca R2UR 1c2 R2UR 182 LDC 08d UISETP
    1ac LDCU 097 UIMNMX 04a UVIMNMX 085 UCS2R 05a UI2F 05c UF2I 051 UFP 053 UFP 054 UFP 055 UFP 056 UFP 0a6 UINT`,
  control: `118 NOP 11a DEPBAR 11b ENDCOLLECTIVE 11d BAR 141 BSYNC 142 BREAK 143 CALL 144 CALL 145 BSSY 146 YIELD 147 BRA 148 WARPSYNC 149 BRX 158 BRXU 14d EXIT 150 RET
    155 BMOV 156 BMOV 157 BMOV 15b KILL 15c BPT 15d NANOSLEEP 192 MEMBAR 1a7 SYNCS 1ab ERRBAR 1af LDGDEPBAR 1b2 SYNCS 1b7 UTMACMDFLUSH
    1c5 WARPGROUP 1c6 FENCE 1c7 UCGABAR 1c8 USETMAXREG 02d PREEXIT 02e ACQBULK`,
};
const NAMES = new Map();
const UNITS = new Map();
for (const [unit, text] of Object.entries(BY_UNIT)) {
  const words = text.trim().split(/\s+/);
  for (let i = 0; i < words.length; i += 2) {
    NAMES.set(Number.parseInt(words[i], 16), words[i + 1]);
    UNITS.set(words[i + 1], unit);
  }
}

/** Names of the kinds by which instructions are counted. */
export const kinds = Object.keys(BY_UNIT);

/** Returns the mnemonic of an opcode of twelve bits. Unknown opcodes are "?" and the number. */
export const mnemonicOf = (opcode) => NAMES.get(opcode & 0x1ff) ?? `?${opcode.toString(16).padStart(3, "0")}`;

/** Returns the unit that executes a mnemonic, or undefined for an unknown one. */
export const unitOf = (name) => UNITS.get(name);
