// Writes test/golden/tokenizers.json: the official library's results for the tokenizers and strings of test/tokenizer/generated.ts.
//
//   npm install --prefix FOLDER tokenizers@0.23.2 && node scripts/golden/tokenizers.mjs FOLDER
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const stringsEach = 24;
const root = fileURLToPath(new URL("../..", import.meta.url));
const library = createRequire(`${resolve(process.argv[2])}/`)("tokenizers");
const bundle = await rolldown({ input: `${root}/test/tokenizer/generated.ts`, platform: "node" });
const { output } = await bundle.generate({ format: "esm" });
const source = `data:text/javascript;base64,${Buffer.from(output[0].code).toString("base64")}`;
const { families, generator, randomText } = await import(source);

const golden = {};
for (const [index, [name, json]] of Object.entries(families()).entries()) {
  const tokenizer = library.Tokenizer.fromString(JSON.stringify(json));
  const random = generator(index);
  golden[name] = [];
  for (let i = 0; i < stringsEach; i++) {
    const text = randomText(random).toWellFormed();
    const ids = (await tokenizer.encode(text)).getIds();
    golden[name].push([ids, await tokenizer.decode(ids, i % 2 === 0)]);
  }
}
const lines = Object.entries(golden).map(([name, rows]) => `${JSON.stringify(name)}:[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}]`);
writeFileSync(`${root}/test/golden/tokenizers.json`, `{${lines.join(",\n")}}\n`);
