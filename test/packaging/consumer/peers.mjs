// Loads every entry point in both module systems, and uses the features that need optional packages: metrics and heddle/ai-sdk.
import { createRequire } from "node:module";
import * as heddle from "heddle";
import * as graph from "heddle/graph";
import * as server from "heddle/serve";
import * as tokenizer from "heddle/tokenizer";

const require = createRequire(import.meta.url);
const names = ["heddle", "heddle/graph", "heddle/serve", "heddle/tokenizer"];
const esm = [heddle, graph, server, tokenizer];
const loaded = names.filter((name, i) => Object.keys(require(name)).every((key) => key in esm[i]));
const message = (error) => error.message.split("\n")[0];
/** The exports of heddle/ai-sdk in both module systems, or the messages of the errors. */
const sdk = [
  await import("heddle/ai-sdk").then(Object.keys, message),
  await new Promise((resolve) => resolve(Object.keys(require("heddle/ai-sdk")))).catch(message),
];

/** Starts a server, and requests a completion and the metrics. */
async function served({ LanguageModel }, { serve }) {
  const model = await LanguageModel.load("default");
  const running = await serve(model, { port: 0 });
  const body = JSON.stringify({ prompt: "The capital of France is", max_tokens: 4, temperature: 0 });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${running.url}/v1/completions`, { method: "POST", headers, body });
  const metrics = await fetch(`${running.url}/metrics`);
  const out = { answer: answer.status, metrics: metrics.status, text: (await metrics.text()).slice(0, 200) };
  await running.close();
  await model.dispose();
  return out;
}
const common = [require("heddle"), require("heddle/serve")];
console.log(JSON.stringify({ loaded, sdk, esm: await served(heddle, server), common: await served(...common) }));
