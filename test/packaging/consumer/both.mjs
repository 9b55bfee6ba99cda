// ES module and CommonJS copies in one process: native errors are instances of the HeddleError of their copy.
import { createRequire } from "node:module";
import * as esm from "heddle";

const common = createRequire(import.meta.url)("heddle");
const typed = [];
for (const { HeddleError, LanguageModel } of [esm, common]) {
  const model = await LanguageModel.load("default");
  await model.dispose();
  const error = await model.complete("a").catch((reason) => reason);
  typed.push(error instanceof HeddleError && error.code === "DISPOSED");
}
console.log(JSON.stringify({ text: "", finishReason: "", typedError: typed.every(Boolean) }));
