// Compiled against the installed package's declarations, as an ES module and as CommonJS.
import { HeddleError, type HeddleErrorCode, LanguageModel } from "heddle";
import { add, type Value } from "heddle/graph";
import { type ModelServer, serve } from "heddle/serve";
import { Tokenizer } from "heddle/tokenizer";

export async function complete(): Promise<string> {
  const model = await LanguageModel.load("default");
  let text = "";
  for await (const piece of model.generate("The", { maxTokens: 2, temperature: 0 })) text += piece.text;
  const ids: Uint32Array = (await Tokenizer.load("folder")).encode("a");
  const code: HeddleErrorCode = new HeddleError("IO", "x").code;
  return text + ids.length + code;
}

/** Options that a caller may not have been given are handed on as they are. */
export async function handOn(model: LanguageModel, seed: number | undefined, side: "left" | "right" | undefined) {
  const tokenizer = await Tokenizer.train(["a"], { vocabSize: 300, minFrequency: seed, lowercase: undefined });
  const ids = tokenizer.encode("a", { seed, dropout: undefined, addSpecialTokens: undefined });
  const input = await tokenizer.encodeInputs(["a"], { padding: { side, to: undefined }, truncation: undefined });
  const chat = model.chat({ system: undefined, tools: undefined, variables: undefined });
  return [ids, input, tokenizer.decode(ids, { skipSpecialTokens: undefined }), chat.send("a", { seed })];
}

export async function start(): Promise<string> {
  const server: ModelServer = await serve(await LanguageModel.load("default"), { port: 0, apiKeys: ["secret"] });
  await server.close();
  return server.url;
}

export const twice = (x: Value): Value => add(x, x);
