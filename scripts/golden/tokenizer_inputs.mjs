// Writes test/golden/tokenizer-inputs.json: the official library's truncation and padding, for the tokenizer "bert" of
// test/tokenizer/generated.ts.
//
// Overflowing parts are not included, because version 0.23.2 stops encoding at the maximum length and loses some of them.
//
//   npm install --prefix FOLDER tokenizers@0.23.2 && node scripts/golden/tokenizer_inputs.mjs FOLDER
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../..", import.meta.url));
const library = createRequire(`${resolve(process.argv[2])}/`)("tokenizers");
const bundle = await rolldown({ input: `${root}/test/tokenizer/generated.ts`, platform: "node" });
const { output } = await bundle.generate({ format: "esm" });
const source = `data:text/javascript;base64,${Buffer.from(output[0].code).toString("base64")}`;
const { families } = await import(source);

const texts = [
  "the un believable naïve café",
  "don't",
  ["the believable café 12, 日本", "un able foo_bar don't x1 東京 the naïve"],
  ["the un believable naïve café 12", "un able"],
  "",
];
const cut = (max_length, strategy = "LongestFirst", direction = "Right", stride = 0) => ({ max_length, strategy, direction, stride });
const fill = (strategy, direction = "Right", pad_to_multiple_of = null) => ({ strategy, direction, pad_to_multiple_of, pad_id: 0, pad_type_id: 5, pad_token: "[PAD]" });
const cases = [
  [cut(8), null],
  [cut(8, "LongestFirst", "Left"), null],
  [cut(7, "LongestFirst", "Right", 2), null],
  [cut(9, "LongestFirst", "Left", 3), null],
  [cut(26, "OnlyFirst", "Right", 1), null],
  [cut(26, "OnlySecond", "Right", 1), null],
  [cut(3), null],
  [null, fill("BatchLongest")],
  [null, fill("BatchLongest", "Left", 8)],
  [null, fill({ Fixed: 12 })],
  [cut(10, "LongestFirst", "Right", 4), fill({ Fixed: 12 }, "Left")],
  [cut(6), fill("BatchLongest", "Right", 4)],
];
const record = (encoding) => ({
  ids: encoding.getIds(),
  typeIds: encoding.getTypeIds(),
  attentionMask: encoding.getAttentionMask(),
  specialTokensMask: encoding.getSpecialTokensMask(),
});

const rows = [];
for (const [truncation, padding] of cases) {
  const json = { ...families().bert, truncation, padding };
  const tokenizer = library.Tokenizer.fromString(JSON.stringify(json));
  // The library's batches take only single texts, and it would pad a single pair to the pair's own length. So BatchLongest uses single texts.
  const isBatch = padding?.strategy === "BatchLongest";
  const usable = [];
  const inputs = [];
  for (const text of isBatch ? [] : texts) {
    const [first, second] = [text].flat();
    if (second !== undefined && truncation?.stride > 0 && truncation.strategy === "LongestFirst") continue; // the library panics if a part is as short as the stride
    try {
      inputs.push(record(await tokenizer.encode(first, second ?? null)));
      usable.push(text);
    } catch {} // OnlyFirst and OnlySecond reject some inputs
  }
  if (isBatch) {
    usable.push(...texts.filter((text) => typeof text === "string"));
    inputs.push(...(await tokenizer.encodeBatch(usable)).map(record));
  }
  rows.push({ truncation, padding, texts: usable, inputs });
}
writeFileSync(`${root}/test/golden/tokenizer-inputs.json`, `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`);
