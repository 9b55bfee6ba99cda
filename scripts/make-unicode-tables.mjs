// Writes native/tokenizer/text/unicode_ranges.inc, unicode_properties.inc and unicode_forms.inc:
//
//   npm install --prefix FOLDER tokenizers@0.23.2 && node scripts/make-unicode-tables.mjs FOLDER
//
// Hugging Face's tokenizers library defines the meaning of tokenizer.json. The library mixes several versions of Unicode: 16.0 in regular
// expressions, an older one in decompositions, and a still older one in punctuation. So this script queries the library for each property of each
// code point. The library does not expose the properties of grapheme clusters. They come from Intl.Segmenter of the Node that runs this script.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

if (!process.argv[2]) throw new Error("expected the folder that has node_modules/tokenizers");
const library = createRequire(`${resolve(process.argv[2])}/`)("tokenizers");
const total = 0x110000;
const chunk = 2048;

const isSurrogate = (code) => code >= 0xd800 && code <= 0xdfff;
const characters = Array.from({ length: total }, (_, code) => (isSurrogate(code) ? "" : String.fromCodePoint(code)));

/** Returns a function that applies a normalizer of tokenizer.json to a text. */
function normalizer(component) {
  const model = { type: "WordLevel", vocab: { x: 0 }, unk_token: "x" };
  const parts = { added_tokens: [], pre_tokenizer: null, post_processor: null, decoder: null };
  const json = { version: "1.0", ...parts, normalizer: component, model };
  const made = library.Tokenizer.fromString(JSON.stringify(json)).getNormalizer();
  return (text) => made.normalizeString(text);
}

/** Marks the code points that a normalizer removes. They are normalized in chunks, for speed. */
function removedBy(normalize) {
  const table = new Uint8Array(total);
  for (let from = 0; from < total; from += chunk) {
    const text = characters.slice(from, from + chunk).join("");
    const left = new Set(Array.from(normalize(text), (character) => character.codePointAt(0)));
    for (let code = from; code < from + chunk; code++) table[code] = left.has(code) || isSurrogate(code) ? 0 : 1;
  }
  return table;
}

const matching = (pattern) => removedBy(normalizer({ type: "Replace", pattern: { Regex: pattern }, content: "" }));

/** Marks the code points at which a pre-tokenizer splits the text "a?a", where ? is the code point. */
function cutBy(preTokenizer) {
  const table = new Uint8Array(total);
  for (let code = 1; code < total; code++) {
    if (!isSurrogate(code)) table[code] = preTokenizer.preTokenizeString(`a${characters[code]}a`).length > 1 ? 1 : 0;
  }
  table[0] = 0;
  return table;
}

// ---- flags and properties ------------------------------------------------------------------------------------

const bert = { type: "BertNormalizer", clean_text: false, handle_chinese_chars: false, strip_accents: false };
const nfc = normalizer({ type: "NFC" });
const nfd = normalizer({ type: "NFD" });
const nfkd = normalizer({ type: "NFKD" });

const table = {
  letter: matching("\\p{L}"),
  number: matching("\\p{N}"),
  space: matching("\\s"),
  upperish: matching("[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"),
  lowerish: matching("[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"),
  mark: matching("\\p{M}"),
  word: cutBy(library.whitespacePreTokenizer()).map((cut) => 1 - cut),
};
table.word[0] = 0;

/** Canonical and compatibility decompositions, pairs that compose, and characters that NFC may change. */
const canonical = new Map();
const compatible = new Map();
const compositions = [];
const nfcUnsafe = new Uint8Array(total);
const isHangul = (code) => code >= 0xac00 && code < 0xac00 + 11172;
for (let code = 0; code < total; code++) {
  const character = characters[code];
  if (character === "") continue;
  const d = nfd(character);
  const k = nfkd(character);
  const composed = nfc(character);
  if (composed !== character || table.mark[code]) nfcUnsafe[code] = 1;
  const parts = [...d];
  for (const part of parts.slice(1)) nfcUnsafe[part.codePointAt(0)] = 1;
  if (isHangul(code)) continue;
  if (d !== character) canonical.set(code, d);
  if (k !== d) compatible.set(code, k);
  if (parts.length > 1 && composed === character) {
    const first = [...nfc(parts.slice(0, -1).join(""))];
    if (first.length !== 1) throw new Error(`U+${code.toString(16)}: expected a pair that composes to it, got none`);
    compositions.push([first[0].codePointAt(0), parts.at(-1).codePointAt(0), code]);
  }
}

// unicode::Flag of native/tokenizer/text/unicode.h.
const flags = [
  [1, table.letter],
  [2, table.number],
  [4, table.space],
  [8, table.upperish],
  [16, table.lowerish],
  [32, table.mark],
  [64, nfcUnsafe],
  [128, table.word],
];
const flagTable = new Uint8Array(total);
for (const [flag, marked] of flags) for (let code = 0; code < total; code++) if (marked[code]) flagTable[code] |= flag;
// The flag table ends here (unicode::table_size). Above, only the variation selectors U+E0100 to U+E01EF have flags.
const limit = 0x40000;
for (let code = limit; code < total; code++) {
  const expected = code >= 0xe0100 && code <= 0xe01ef ? 8 | 16 | 32 | 64 | 128 : 0;
  if (flagTable[code] !== expected)
    throw new Error(`U+${code.toString(16)} has flags that unicode::flags_of does not return for planes 4 to 16`);
}

const categories = "Cn Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split(
  " ",
);
const properties = new Uint32Array(total);
categories.forEach((name, index) => {
  if (name === "Cn" || name === "Cs") return;
  const marked = matching(`\\p{${name}}`);
  for (let code = 0; code < total; code++) if (marked[code]) properties[code] |= index;
});
for (let code = 0xd800; code <= 0xdfff; code++) properties[code] |= categories.indexOf("Cs");

// Bits of unicode::Property.
const accents = normalizer({ ...bert, strip_accents: true, lowercase: false });
const cleanText = normalizer({ ...bert, clean_text: true, lowercase: false });
// clean_text replaces some characters with spaces and removes others.
const clean = removedBy(cleanText).map((gone, code) =>
  table.space[code] ? Number(cleanText(characters[code]) === "") : gone,
);
const combining = removedBy(normalizer({ type: "StripAccents" }));
const bits = [
  [5, matching("\\p{Alphabetic}")],
  [6, matching("\\w")],
  [7, cutBy(library.punctuationPreTokenizer())],
  [8, cutBy(library.digitsPreTokenizer(true))],
  [9, combining],
  [10, Uint8Array.from(characters, (c, code) => (!isSurrogate(code) && nfd(c) === c && accents(c) === "" ? 1 : 0))],
  [11, clean],
  [12, matching("[[:punct:]]")],
];
for (const [bit, marked] of bits) {
  for (let code = 0; code < total; code++) if (marked[code]) properties[code] |= 1 << bit;
}

// ---- scripts -------------------------------------------------------------------------------------------------

const scriptNames =
  "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square".split(
    " ",
  );
const scripts = new Uint8Array(total);
scriptNames.forEach((name, index) => {
  const marked = matching(`\\p{${name}}`);
  for (let code = 0; code < total; code++) if (marked[code]) scripts[code] = index + 1;
});

// The script classes of the UnicodeScripts pre-tokenizer, which follows SentencePiece. Class 0 matches every script. A code point has the class of
// a representative from which the pre-tokenizer does not separate it.
const byScript = library.Tokenizer.fromString(
  JSON.stringify({
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "UnicodeScripts" },
    post_processor: null,
    decoder: null,
    model: { type: "WordLevel", vocab: { x: 0 }, unk_token: "x" },
  }),
).getPreTokenizer();
const together = (a, b) => byScript.preTokenizeString(a + b).length === 1;
const segmentScripts = new Uint8Array(total);
const representatives = ["a", "\u0430"];
for (let code = 0; code < total; code++) {
  const character = characters[code];
  if (character === "") continue;
  if (together("a", character) && together("\u0430", character)) continue; // class 0
  const before = code === 0 ? 0 : segmentScripts[code - 1];
  if (before > 0 && together(representatives[before - 1], character)) {
    segmentScripts[code] = before;
    continue;
  }
  let index = representatives.findIndex((other) => together(other, character));
  if (index < 0) index = representatives.push(character) - 1;
  segmentScripts[code] = index + 1;
}

// ---- grapheme clusters -----------------------------------------------------------------------------------------

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
const clusters = (text) => [...segmenter.segment(text)].length;
const Break = { other: 0, cr: 1, lf: 2, control: 3, extend: 4, zwj: 5, regional: 6, prepend: 7, spacing: 8 };
Object.assign(Break, { l: 9, v: 10, t: 11, lv: 12, lvt: 13, pictographic: 14 });
const breaks = new Uint8Array(total);
for (let code = 0; code < total; code++) {
  const c = characters[code];
  if (c === "") continue;
  if (c === "\r") breaks[code] = Break.cr;
  else if (c === "\n") breaks[code] = Break.lf;
  else if (code === 0x200d) breaks[code] = Break.zwj;
  else if (/\p{Regional_Indicator}/u.test(c)) breaks[code] = Break.regional;
  else if ((code >= 0x1100 && code < 0x1160) || (code >= 0xa960 && code <= 0xa97c)) breaks[code] = Break.l;
  else if ((code >= 0x1160 && code < 0x11a8) || (code >= 0xd7b0 && code <= 0xd7c6)) breaks[code] = Break.v;
  else if ((code >= 0x11a8 && code < 0x1200) || (code >= 0xd7cb && code <= 0xd7fb)) breaks[code] = Break.t;
  else if (isHangul(code)) breaks[code] = (code - 0xac00) % 28 === 0 ? Break.lv : Break.lvt;
  else if (clusters(`a${c}`) === 1) {
    breaks[code] = /\p{Grapheme_Extend}|\p{Emoji_Modifier}/u.test(c) ? Break.extend : Break.spacing;
  } else if (clusters(`${c}\u0301`) === 2) breaks[code] = Break.control;
  else if (clusters(`${c}a`) === 1) breaks[code] = Break.prepend;
  else if (/\p{Extended_Pictographic}/u.test(c)) breaks[code] = Break.pictographic;
}

// ---- combining classes, numbered by their order, because their values are not observable -------------------------------------------------------------------

const reordered = (a, b) => nfd(a + b) !== a + b;
const ordered = [];
for (let code = 0x300; code < total; code++) {
  const c = characters[code];
  if (c === "" || !(table.mark[code] || combining[code]) || nfd(c) !== c) continue;
  // U+0334 has the lowest combining class, and U+0345 the highest. NFD reorders a mark of any other class with one of them.
  if (code === 0x334 || code === 0x345 || reordered("\u0345", c) || reordered(c, "\u0334")) ordered.push(c);
}
const classes = [];
for (const c of ordered) {
  let low = 0;
  let high = classes.length;
  let same;
  while (low < high && same === undefined) {
    const middle = (low + high) >> 1;
    if (reordered(c, classes[middle][0])) low = middle + 1;
    else if (reordered(classes[middle][0], c)) high = middle;
    else same = classes[middle];
  }
  if (same) same.push(c);
  else classes.splice(low, 0, [c]);
}
const combiningClass = new Uint8Array(total);
classes.forEach((members, index) => {
  for (const c of members) combiningClass[c.codePointAt(0)] = index + 1;
});

// ---- lower case ---------------------------------------------------------------------------------------------------

const lowercase = normalizer({ type: "Lowercase" });
const lower = [];
for (let code = 0; code < total; code++) {
  const c = characters[code];
  if (c === "") continue;
  const mapped = Array.from(lowercase(c), (part) => part.codePointAt(0));
  if (mapped.length > 2)
    throw new Error(`U+${code.toString(16)}: expected at most two code points in lower case, got ${mapped.length}`);
  if (mapped.length === 2 || mapped[0] !== code) lower.push([code, mapped[0], mapped[1] ?? 0]);
}

// ---- output ---------------------------------------------------------------------------------------------------------

const hex = (number) => (number < 10 ? String(number) : `0x${number.toString(16)}`);

function write(name, parts) {
  const lines = ["// Made by scripts/make-unicode-tables.mjs. Do not edit."];
  for (const [head, entries, tail] of parts) {
    if (head) lines.push(head);
    let line = "";
    for (const entry of entries) {
      if (line.length + entry.length + 1 > 120) {
        lines.push(line);
        line = "";
      }
      line += `${entry},`;
    }
    if (line) lines.push(line);
    if (tail) lines.push(tail);
  }
  writeFileSync(new URL(`../native/tokenizer/text/${name}`, import.meta.url), `${lines.join("\n")}\n`);
  console.log(`${name}: ${lines.length} lines`);
}

/** Returns the C++ initializer {first, value} of each range of code points with equal values, which have at most 11 bits. */
function ranges(values, end = total) {
  const entries = [];
  for (let code = 0; code < end; code++) {
    if (code === 0 || values[code] !== values[code - 1]) entries.push(`{${hex(code)},${hex(values[code])}}`);
  }
  return entries;
}

write("unicode_ranges.inc", [["", ranges(flagTable, limit), ""]]);
// Ranges have 11 bits for a value, so properties are indices of their distinct values.
const propertyValues = [...new Set(properties)];
const propertyIndices = properties.map((value) => propertyValues.indexOf(value));
const range = (name, values) => [`constexpr Range ${name}[] = {`, ranges(values), "};"];
write("unicode_properties.inc", [
  ["constexpr uint32_t property_values[] = {", propertyValues.map(hex), "};"],
  range("property_ranges", propertyIndices),
  range("script_ranges", scripts),
  range("segment_script_ranges", segmentScripts),
  range("break_ranges", breaks),
  ["constexpr const char* script_names[] = {", scriptNames.map((name) => `"${name}"`), "};"],
]);
const decompositions = (name, map) => {
  const text = [];
  const entries = [];
  for (const [code, mapped] of map) {
    const parts = Array.from(mapped, (part) => part.codePointAt(0));
    entries.push(`{${hex(code)},${hex(text.length)}}`);
    text.push(...parts);
  }
  entries.push(`{0x3ffff,${hex(text.length)}}`); // the end of the last text
  return [
    [`constexpr Decomposition ${name}[] = {`, entries, "};"],
    [`constexpr uint32_t ${name}_text[] = {`, text.map(hex), "};"],
  ];
};
write("unicode_forms.inc", [
  range("combining_ranges", combiningClass),
  ...decompositions("canonical", canonical),
  ...decompositions("compatible", compatible),
  [
    "constexpr Composition compositions[] = {",
    compositions.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((entry) => `{${entry.map(hex).join(",")}}`),
    "};",
  ],
  ["constexpr Lower lower[] = {", lower.map((entry) => `{${entry.map(hex).join(",")}}`), "};"],
]);
