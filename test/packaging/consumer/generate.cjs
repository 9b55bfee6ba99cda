// CommonJS: the same as generate.mjs.
const { HeddleError, LanguageModel } = require("heddle");
const { Tokenizer } = require("heddle/tokenizer");

async function main() {
  const model = await LanguageModel.load("default");
  const { text, finishReason } = await model.complete("The capital of France is", { maxTokens: 6, temperature: 0 });
  await model.dispose();
  const error = await Tokenizer.load("no-such-folder").catch((reason) => reason);
  console.log(
    JSON.stringify({ text, finishReason, typedError: error instanceof HeddleError && error.code === "NOT_FOUND" }),
  );
}

main();
