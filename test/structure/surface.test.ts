// Every function and method of heddle, heddle/serve and heddle/tokenizer throws a HeddleError for invalid arguments, or works. The same
// holds for the exports of heddle/graph that define families and stages. `graph/surface.test.ts` tests the graph itself.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.ts";
import * as graphs from "../../lib/graph-entry.ts";
import * as heddle from "../../lib/index.ts";
import * as serveModule from "../../lib/serve/index.ts";
import * as tokenizerModule from "../../lib/tokenizer/index.ts";
import { type Anything, endOf, isClass, oddities } from "../helpers/surface.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const folder = await mkdtemp(join(tmpdir(), "heddle-surface-"));
const home = process.cwd();
process.chdir(folder); // functions that treat an argument as a path write here
const tokenizer = await tinyTokenizer();
const model = tinyModel({ tokenizer });
afterAll(async () => {
  process.chdir(home);
  await rm(folder, { recursive: true, force: true });
});

/** Valid leading arguments, so that calls check later ones. */
const validArguments: Record<string, unknown[]> = {
  convertModel: ["nowhere", "out"],
  createModel: [{ modelType: "llama", hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, vocabSize: 50 }],
  calibration: [[0.5], [true]],
  writeTokenShards: [tokenizer, ["a"]],
  multipleChoice: [model, [{ question: "a", choices: ["x", "y"], answer: 0 }]],
  perplexity: [model, ["a b c"]],
  questionAnswering: [model, [{ question: "a", answer: "b" }]],
  compressionReport: [tokenizer, { a: ["b"] }],
  markdownSummary: [{ machine: {}, results: [] }],
  train: [
    model,
    { name: "own", collate() {}, count() {}, loss() {} },
    { next() {}, state() {}, restore() {}, dispose() {} },
  ],
  createHandler: [model],
  serve: [model],
  "Tokenizer.load": [folder],
  "Tokenizer.train": [["a b"]],
  "LanguageModel.load": ["nowhere"],
  "model.generate": ["hi"],
  "model.complete": ["hi"],
  "model.completeAll": [["hi"]],
  "model.logits": ["hi"],
  "model.score": ["hi"],
  "model.embed": ["hi"],
  "model.classify": ["hi"],
  "model.classifyTokens": ["hi"],
  "model.save": ["saved"],
  "model.loadAdapter": ["nowhere"],
  "model.saveAdapter": ["adapter"],
  "batcher.generate": ["hi"],
  "batcher.complete": ["hi"],
  "batcher.completeAll": [["hi"]],
  "chat.send": ["hi"],
  "session.generate": ["hi"],
  "session.complete": ["hi"],
  "tokenizer.encode": ["hi"],
  "tokenizer.encodeInto": ["hi", new Uint32Array(4)],
  "tokenizer.encodeAsync": ["hi"],
  "tokenizer.encodeBatch": [["hi"]],
  "tokenizer.encodeBatchJoined": [["hi"]],
  "tokenizer.encodeInputs": [["hi"]],
  "tokenizer.encodePair": ["a", "b"],
  "tokenizer.encodeWithOffsets": ["hi"],
  "tokenizer.count": ["hi"],
  "tokenizer.decode": [[1]],
  "tokenizer.decodeBatch": [[[1]]],
  "tokenizer.applyChatTemplate": [[{ role: "user", content: "x" }]],
  "tokenizer.applyChatTemplateAsync": [[{ role: "user", content: "x" }]],
  "tokenizer.applyChatTemplateWithMask": [[{ role: "user", content: "x" }]],
  "tokenizer.applyChatTemplateWithSpans": [[{ role: "user", content: "x" }]],
  "tokenizer.fit": [[{ role: "user", content: "x" }]],
  "tokenizer.fitAsync": [[{ role: "user", content: "x" }]],
};
for (const stage of [
  "pretrain",
  "sft",
  "dpo",
  "kto",
  "orpo",
  "simpo",
  "ppo",
  "grpo",
  "train",
  "trainReward",
  "trainClassifier",
  "trainEmbedding",
])
  validArguments[stage] ??= [model];

/** Private or internal methods, not for callers. */
const INTERNAL =
  /^(Chat\.load|batcher\.(answer|checkShared|read|submit)|source\.orderOf|Session\.(load|open)|Tokenizer\.loadCached|chat\.answer|session\.(awaited|exclusively|saveWith|assertIdle)|model\.(run|resolve|sequences|checkTexts|storedDtype)|tokenizer\.(specialCounts|ownOf|nativeOptions|encodeJoined|encodeWith|render|partRenderer|saved|encodeGuarded|encodeGuardedAsync|forbiddenIn|settledTexts))$/;
/** Functions that run for minutes if called without arguments. They get only values that they must reject. */
const LONG = new Set(["bench", "autotune", "lifecycle"]);
const acceptedByLongFunctions = ["undefined", "{}"];

/** Exports of heddle/graph that are not part of the graph itself. */
const authoring = Object.fromEntries(Object.entries(graphs).filter(([name]) => !(name in graph)));
const calls: [string, Anything, unknown][] = [];
for (const [where, exports] of [heddle, authoring, tokenizerModule, serveModule].entries())
  for (const [name, value] of Object.entries(exports as Record<string, unknown>))
    if (typeof value === "function" && !isClass(value) && (where === 0 || !(name in heddle)))
      calls.push([name, value as Anything, undefined]);
const { LanguageModel, Tokenizer } = heddle;
const { ExampleSource } = graphs;
for (const owner of [LanguageModel, Tokenizer, heddle.Session, heddle.Chat])
  for (const name of Object.getOwnPropertyNames(owner))
    if (typeof Reflect.get(owner, name) === "function")
      calls.push([`${owner.name}.${name}`, Reflect.get(owner, name) as Anything, owner]);
calls.push(["ExampleSource", (...args) => Reflect.construct(ExampleSource, args), undefined]);
const objects = {
  chat: model.chat(),
  session: model.session(),
  batcher: model.batcher(),
  tokenizer,
  decoder: tokenizer.decoder(),
  source: new ExampleSource(["a", "b"], { batchSize: 1, seed: 1 }),
  model,
};
for (const [name, object] of Object.entries(objects))
  for (let proto = Object.getPrototypeOf(object); proto !== Object.prototype; proto = Object.getPrototypeOf(proto))
    for (const [key, { value, set }] of Object.entries(Object.getOwnPropertyDescriptors(proto))) {
      if (key === "constructor" || /dispose/i.test(key)) continue;
      if (typeof value === "function") calls.push([`${name}.${key}`, value as Anything, object]);
      else if (set) calls.push([`${name}.${key}=`, (given) => set.call(object, given), undefined]);
    }

/** Results that later calls need, so they are not disposed. */
const doNotDispose = new Set<unknown>([model]);
const unexpectedOutcome = (call: () => unknown) => endOf(call, doNotDispose);

const wanted = calls.filter(([name]) => !INTERNAL.test(name));
test("the tested objects cover all classes", () => {
  // Devices and errors have no methods with arguments.
  const classes = [heddle, authoring, tokenizerModule, serveModule].flatMap((entry) =>
    Object.values<unknown>(entry).filter(isClass),
  );
  const instances = [...Object.values(objects), graph.openDevice(), new heddle.HeddleError("IO", "x")];
  const without = classes.filter((type) => !instances.some((object) => object instanceof (type as typeof Object)));
  expect(without.map((type) => (type as typeof Object).name)).toEqual([]);
  expect(wanted.length).toBeGreaterThan(95);
});

test.each(wanted)("%s accepts an odd argument or throws a HeddleError", async (name, call, self) => {
  const lead = validArguments[name] ?? [];
  const wrong: unknown[] = [];
  for (let place = 0; place <= Math.min(lead.length, 3); place++)
    for (const [what, value] of oddities) {
      if (LONG.has(name) && acceptedByLongFunctions.includes(what)) continue;
      const end = await unexpectedOutcome(() => call.apply(self, [...lead.slice(0, place), value]));
      if (end !== undefined) wrong.push(`${what} as argument ${place}: ${end}`);
    }
  expect(wrong).toEqual([]);
});

const HANDLER = [
  "modelName",
  "aliases",
  "apiKeys",
  "allowedHosts",
  "allowedOrigins",
  "maxConcurrent",
  "maxQueue",
  "maxChoices",
  "maxTokens",
  "maxBodyBytes",
  "bodyTimeout",
  "stallTimeout",
  "deterministic",
  "onRequest",
];
const options: [string, Anything, unknown, string[]][] = [
  [
    "LanguageModel.load",
    LanguageModel.load as Anything,
    LanguageModel,
    [
      "device",
      "threads",
      "allowTf32",
      "dtype",
      "quantizedActivations",
      "contextLength",
      "cacheDtype",
      "cachePageSize",
      "onProgress",
      "signal",
    ],
  ],
  ["createModel", heddle.createModel as Anything, undefined, ["tokenizer", "seed", "device", "threads"]],
  [
    "convertModel",
    heddle.convertModel as Anything,
    undefined,
    ["to", "dtype", "maxShardBytes", "signal", "onProgress", "base", "device", "threads"],
  ],
  [
    "model.generate",
    model.generate as Anything,
    model,
    [
      "maxTokens",
      "temperature",
      "topK",
      "topP",
      "minP",
      "repetitionPenalty",
      "logitBias",
      "logitProcessors",
      "seed",
      "stop",
      "deterministic",
      "promptLookupNumTokens",
      "assistantModel",
      "numAssistantTokens",
      "ignoreEos",
      "topLogprobs",
      "n",
      "numBeams",
      "lengthPenalty",
      "earlyStopping",
      "contextOverflow",
      "addSpecialTokens",
      "adapters",
      "signal",
    ],
  ],
  ["model.logits", model.logits as Anything, model, ["last", "adapters", "signal"]],
  ["model.score", model.score as Anything, model, ["from", "adapters", "signal"]],
  ["chat.send", objects.chat.send as Anything, objects.chat, ["maxTokens", "contextOverflow", "n"]],
  ["Tokenizer.load", Tokenizer.load as Anything, Tokenizer, ["signal", "cache"]],
  ["createHandler", serveModule.createHandler as Anything, undefined, HANDLER],
  [
    "serve",
    serveModule.serve as Anything,
    undefined,
    [...HANDLER, "host", "port", "allowWithoutKey", "headersTimeout", "maxConnections", "closeTimeout"],
  ],
];
test.each(options)("%s accepts an odd option or throws a HeddleError", async (name, call, self, names) => {
  const wrong: unknown[] = [];
  for (const option of names)
    for (const [what, value] of oddities) {
      const lead = name === "LanguageModel.load" ? ["default"] : validArguments[name]!;
      const short = name === "chat.send" || name === "model.generate" ? { maxTokens: 2 } : {};
      const alone = name === "serve" ? { port: 0 } : {}; // any free port
      const end = await unexpectedOutcome(() => call.apply(self, [...lead, { ...short, ...alone, [option]: value }]));
      if (end !== undefined) wrong.push(`${option}: ${what}: ${end}`);
    }
  expect(wrong).toEqual([]);
});

test("error messages state expected and actual values", async () => {
  const message = (work: () => unknown) => expect(Promise.resolve().then(work)).rejects;
  await message(() => (heddle.convertModel as Anything)()).toThrow(
    "input: expected the path of a model, got undefined",
  );
  await message(() => (tokenizer.encodeBatch as Anything).call(tokenizer, null)).toThrow(
    "texts: expected an array of strings, got null",
  );
  await message(() => LanguageModel.load("default", { onProgress: 3 as never })).toThrow(
    "onProgress: expected a function, got 3",
  );
  await message(() => LanguageModel.load("default", { device: {} as never })).toThrow(
    "device: expected auto, cpu, cuda or cuda:N, got an object",
  );
  await message(() => (graphs.train as Anything)(model, {})).toThrow(
    "stage: expected an object with name, collate, count and loss, got an object",
  );
});

test("loads the tokenizer of the embedded model by name", async () => {
  const own = await Tokenizer.load("default");
  await using embedded = await LanguageModel.load("default");
  expect(own.encode("The capital of France")).toEqual(embedded.tokenizer?.encode("The capital of France"));
  expect(own.files()).toEqual(embedded.tokenizer?.files());
});
