// Writes native/tokenizer/unicode_ranges.inc from the Unicode tables of the Node that runs it:
//
//   node scripts/make-unicode-tables.mjs
//
// Each code point below 0x40000 gets one byte of flags; runs of equal flags become one {first, flags} entry. The few
// code points above that have any flag are the variation selectors of plane 14, which unicode.h knows by range.
import { writeFileSync } from "node:fs";

const limit = 0x40000;
const flags = [
  [1, /^\p{L}$/u],
  [2, /^\p{N}$/u],
  [4, /^\p{White_Space}$/u],
  [8, /^[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]$/u], // the first class of o200k's words
  [16, /^[\p{Ll}\p{Lm}\p{Lo}\p{M}]$/u], // the second
  [32, /^\p{M}$/u],
  [128, /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u], // \w of Unicode's UTS 18
];
const nfcUnsafe = 64; // text without such a code point is NFC already

function isSurrogate(code) {
  return code >= 0xd800 && code <= 0xdfff;
}

const table = new Uint8Array(0x110000);
for (let code = 0; code < table.length; code++) {
  if (isSurrogate(code)) continue;
  const character = String.fromCodePoint(code);
  for (const [flag, pattern] of flags) if (pattern.test(character)) table[code] |= flag;
  if (character.normalize("NFC") !== character || /^\p{M}$/u.test(character)) table[code] |= nfcUnsafe;
  // What a composition takes as its second character, such as the vowels and finals of Hangul.
  for (const part of [...character.normalize("NFD")].slice(1)) table[part.codePointAt(0)] |= nfcUnsafe;
}
for (let code = limit; code < table.length; code++) {
  const expected = code >= 0xe0100 && code <= 0xe01ef ? 8 | 16 | 32 | 64 | 128 : 0;
  if (table[code] !== expected) throw new Error(`U+${code.toString(16)} breaks the rule for planes 4 to 16`);
}

const entries = [];
for (let code = 0; code < limit; code++) {
  if (code === 0 || table[code] !== table[code - 1]) entries.push(`{0x${code.toString(16)},${table[code]}}`);
}
const lines = [`// Made by scripts/make-unicode-tables.mjs from Unicode ${process.versions.unicode}. Do not edit.`];
let line = "";
for (const entry of entries) {
  if (line.length + entry.length + 1 > 120) {
    lines.push(line);
    line = "";
  }
  line += `${entry},`;
}
lines.push(line, "");
const target = new URL("../native/tokenizer/unicode_ranges.inc", import.meta.url);
writeFileSync(target, lines.join("\n"));
console.log(`${entries.length} ranges, Unicode ${process.versions.unicode}`);
