// ES modules: generates from the embedded model, and checks that entry points share one error class.
import { HeddleError, LanguageModel } from "heddle";
import { Tokenizer } from "heddle/tokenizer";

const model = await LanguageModel.load("default");
const { text, finishReason } = await model.complete("The capital of France is", { maxTokens: 6, temperature: 0 });
await model.dispose();
const error = await Tokenizer.load("no-such-folder").catch((reason) => reason);
console.log(
  JSON.stringify({ text, finishReason, typedError: error instanceof HeddleError && error.code === "NOT_FOUND" }),
);
