// Loads a tokenizer.json once, in a new process. Arguments: LIBRARY FILE [FOLDER OF PEERS]. Prints the milliseconds of the import and of
// the load.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [what, file, folder] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { readFileSync } = await import("node:fs");
const start = performance.now();
const library = what.startsWith("heddle")
  ? await import("../../dist/tokenizer/index.js")
  : require(what === "kitoken" ? "kitoken/node" : what);
const imported = performance.now();
if (what.startsWith("heddle")) await library.Tokenizer.load(file, { cache: what === "heddle, cached" });
else if (what === "tokenizers") library.Tokenizer.fromFile(file);
else new library.Kitoken(readFileSync(file));
console.log(JSON.stringify({ importing: imported - start, loading: performance.now() - imported }));
