// A server with models and adapters on the disk.
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { generator, uniform } from "../../lib/models/random.ts";
import { type ModelServer, serve } from "../../lib/serve/index.ts";
import { failureOf } from "../inference/helpers.ts";
import { chatModel, clientOf, greedily, user, withServer } from "./helpers.ts";

let folder: string;
/** Size of one model's weights in memory, in bytes. */
let bytes: number;
const at = (name: string) => join(folder, name);

/** Adds an adapter that changes outputs, and saves it alone. */
async function saveAdapter(model: LanguageModel, name: string, seed: number): Promise<void> {
  await model.model.addAdapter(name, { r: 4, alpha: 16 }, seed);
  const [adapter] = model.model.adaptersOf([name]);
  for (const [i, { b }] of [...adapter!.layers.values()].entries()) {
    const tensor = model.model.weight(b);
    await tensor.write(uniform(tensor.elements, 0.5, generator(seed + i)));
  }
  await model.saveAdapter(at(name), { name });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-models-"));
  await using first = await chatModel();
  await first.save(at("first"));
  bytes = [...first.model.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
  first.path = at("first");
  await saveAdapter(first, "red", 10);
  await saveAdapter(first, "blue", 90);
  await using second = await chatModel({ initializerRange: 0.6 });
  await second.save(at("second"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const CHAT = "/v1/chat/completions";
const ask = { messages: user("The cat saw"), ...greedily };

/** Returns the answer of a model that is loaded alone. */
async function answerOf(path: string, adapters: readonly string[] = []): Promise<string> {
  await using model = await LanguageModel.load(path);
  for (const name of adapters) await model.loadAdapter(at(name), { name });
  return await withServer(model, {}, async ({ chat }) => (await chat(ask)).choices[0].message.content);
}

test("requests name models and adapters, which answer as they do alone", async () => {
  const alone = {
    first: await answerOf(at("first")),
    red: await answerOf(at("first"), ["red"]),
    blue: await answerOf(at("first"), ["blue"]),
    second: await answerOf(at("second")),
  };
  expect(new Set(Object.values(alone)).size).toBe(4);
  const server = await serve(
    [
      { name: "first", path: at("first"), adapters: { red: at("red"), blue: at("blue") } },
      { path: at("second"), aliases: ["gpt-4o"] },
    ],
    { port: 0 },
  );
  try {
    expect(server.modelName).toBe("first");
    const { ask: get, chat, post } = clientOf(server);
    const { body: list } = await get("/v1/models");
    expect(list.data.map(({ id }: { id: string }) => id)).toEqual(["first", "red", "blue", "second", "gpt-4o"]);
    // All run at once, and adapters share their base's weights.
    const names = ["blue", "second", "red", "first", "gpt-4o", "red", undefined];
    const answers = await Promise.all(names.map((model) => chat({ ...ask, ...(model && { model }) })));
    const texts = answers.map(({ choices }) => choices[0].message.content);
    const { first, red, blue, second } = alone;
    expect(texts).toEqual([blue, second, red, first, second, red, first]);
    expect(answers.map(({ model }) => model)).toEqual(["blue", "second", "red", "first", "second", "red", "first"]);
    const vector = async (model: string) =>
      (await post("/v1/embeddings", { model, input: "The cat" })).body.data[0].embedding;
    expect(await vector("red")).not.toEqual(await vector("first"));
    expect(await vector("red")).not.toEqual(await vector("blue"));
    expect(await post(CHAT, { ...ask, model: "third" })).toMatchObject({
      status: 404,
      body: {
        error: {
          code: "model_not_found",
          message: expect.stringMatching(/^model: expected first or red or blue or second or gpt-4o, got "third"/),
        },
      },
    });
  } finally {
    await server.close(0);
  }
});

test("Ollama's list has the size and details of a loaded model under all its names", async () => {
  const sources = [
    { name: "first", path: at("first"), aliases: ["gpt-4o"], adapters: { red: at("red") } },
    { name: "second", path: at("second") },
  ];
  const server = await serve(sources, { port: 0 });
  try {
    const { ask: get, chat } = clientOf(server);
    const list = async () => (await get("/api/tags")).body.models;
    expect((await list()).map(({ size }: { size: number }) => size)).toEqual([0, 0, 0, 0]);
    await chat({ ...ask, model: "gpt-4o" });
    const [first, alias, red, second] = await list();
    expect(first).toMatchObject({ name: "first:latest", size: expect.any(Number), details: { family: "llama" } });
    expect(first.size).toBeGreaterThan(0);
    expect(alias).toEqual({ ...first, name: "gpt-4o:latest", model: "gpt-4o:latest" });
    expect(red).toEqual({ ...first, name: "red:latest", model: "red:latest" });
    expect(second).toMatchObject({ name: "second:latest", size: 0, details: { family: "" } });
  } finally {
    await server.close(0);
  }
});

/** The names of the models that a server has loaded. */
const loadedModels = async (server: ModelServer): Promise<string[]> =>
  (await clientOf(server).ask("/api/ps")).body.models.map(({ name }: { name: string }) => name);

test("models that do not fit into maxModelMemory together answer as they do alone", async () => {
  const alone = { first: await answerOf(at("first")), second: await answerOf(at("second")) };
  const sources = ["first", "second"].map((name) => ({ name, path: at(name) }));
  const server = await serve(sources, { port: 0, maxModelMemory: Math.ceil(1.5 * bytes) });
  try {
    const { chat } = clientOf(server);
    const names = ["first", "second", "first", "first", "second"] as const;
    const answers = await Promise.all(
      names.map(async (model) => {
        const answer = await chat({ ...ask, model });
        expect((await loadedModels(server)).length).toBeLessThanOrEqual(1);
        return answer;
      }),
    );
    expect(await loadedModels(server)).toHaveLength(1);
    expect(answers.map(({ choices }) => choices[0].message.content)).toEqual(names.map((name) => alone[name]));
    expect(server.stats).toEqual({ running: 0, waiting: 0, tokens: 5 * 24, answers: 0 });
  } finally {
    await server.close(0);
  }
});

test("a model that cannot be loaded is an error without its path, and loads once it can", async () => {
  const server = await serve(
    [
      { name: "first", path: at("first") },
      { name: "late", path: at("late") },
    ],
    { port: 0 },
  );
  try {
    const { post, chat } = clientOf(server);
    const { status, body } = await post(CHAT, { ...ask, model: "late" });
    expect([status, body.error]).toEqual([
      500,
      expect.objectContaining({ message: "model: late could not be loaded (NOT_FOUND)", code: "model_not_loaded" }),
    ]);
    await rename(at("second"), at("late"));
    expect((await chat({ ...ask, model: "late" })).choices).toHaveLength(1);
  } finally {
    await server.close(0);
    await rename(at("late"), at("second"));
  }
});

test("a broken adapter does not affect its base", async () => {
  const server = await serve([{ name: "first", path: at("first"), adapters: { broken: at("second") } }], { port: 0 });
  try {
    const { post, chat } = clientOf(server);
    expect(await post(CHAT, { ...ask, model: "broken" })).toMatchObject({ status: 500 });
    expect((await chat(ask)).choices).toHaveLength(1);
  } finally {
    await server.close(0);
  }
});

test("a loaded model's adapters apply only to requests that name them, and the caller keeps the model", async () => {
  await using model = await LanguageModel.load(at("first"));
  const server = await serve([{ name: "first", model, adapters: { red: at("red") } }], { port: 0 });
  const { chat } = clientOf(server);
  const before = await chat(ask);
  const red = await chat({ ...ask, model: "red" });
  const after = await chat({ ...ask, model: "first" });
  await server.close(0);
  expect(red.choices).not.toEqual(before.choices);
  expect(after.choices).toEqual(before.choices);
  expect(model.model.activeAdapters).toEqual([]);
  expect((await model.complete("The", { maxTokens: 1 })).tokens).toHaveLength(1);
});

test("servers of one loaded model keep their adapters apart, and remove them when they close", async () => {
  await using model = await LanguageModel.load(at("first"));
  const answers: Record<string, string> = {};
  const serveOnly = (name: string) => serve([{ name: "first", model, adapters: { [name]: at(name) } }], { port: 0 });
  const servers = [await serveOnly("red"), await serveOnly("blue")];
  for (const [i, name] of ["red", "blue"].entries()) {
    const { choices } = await clientOf(servers[i]!).chat({ ...ask, model: name });
    answers[name] = choices[0].message.content;
  }
  expect(answers).toEqual({
    red: await answerOf(at("first"), ["red"]),
    blue: await answerOf(at("first"), ["blue"]),
  });
  for (const server of servers) await server.close(0);
  expect([...model.model.adapters.keys()]).toEqual([]);
});

test("loading adapters keeps the active adapters that the caller sets meanwhile", async () => {
  await using model = await LanguageModel.load(at("first"));
  await model.loadAdapter(at("blue"), { name: "own" });
  model.setActiveAdapters([]);
  const load = model.loadAdapter.bind(model);
  model.loadAdapter = async (...given) => {
    await load(...given);
    model.setActiveAdapters([...model.model.activeAdapters, "own"]);
  };
  const server = await serve([{ name: "first", model, adapters: { red: at("red"), blue: at("blue") } }], { port: 0 });
  const { chat } = clientOf(server);
  await Promise.all(["red", "blue"].map((name) => chat({ ...ask, model: name })));
  await server.close(0);
  expect(model.model.activeAdapters).toEqual(["own"]);
});

test("load() loads a model before its first request, and rejects if the model cannot be loaded", async () => {
  const server = await serve(
    ["first", "second", "nowhere"].map((name) => ({ path: at(name) })),
    { port: 0 },
  );
  try {
    expect(await loadedModels(server)).toEqual([]);
    await server.handler.load();
    expect(await loadedModels(server)).toEqual(["first:latest"]);
    await server.handler.load("second");
    expect(await loadedModels(server)).toEqual(["first:latest", "second:latest"]);
    expect(await failureOf(() => server.handler.load("nowhere"))).toMatchObject({ code: "model_not_loaded" });
    expect(await failureOf(() => server.handler.load("other"))).toMatchObject({ code: "model_not_found" });
  } finally {
    await server.close(0);
  }
});

test("a list of models takes no modelName and no aliases", async () => {
  for (const [options, message] of [
    [{ modelName: "a" }, /^modelName: expected no value/],
    [{ aliases: ["a"] }, /^aliases: expected no value/],
  ] as const)
    expect(await failureOf(() => serve([{ path: at("first") }], options))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
});

test("a single model answers to its aliases, and an invalid alias is rejected", async () => {
  await using model = await LanguageModel.load(at("first"));
  await withServer(model, { aliases: ["gpt-4o"] }, async ({ ask: get, chat }) => {
    expect((await get("/v1/models")).body.data.map(({ id }: { id: string }) => id)).toEqual(["tiny", "gpt-4o"]);
    expect((await chat({ ...ask, model: "gpt-4o" })).model).toBe("tiny");
  });
  expect(await failureOf(() => serve(model, { aliases: ["a b"] }))).toMatchObject({
    message: expect.stringMatching(/^aliases: expected 1 to 200 characters/),
  });
});
