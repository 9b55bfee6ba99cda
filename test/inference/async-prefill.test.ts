// Prompts of several parts, where the next part is queued while the current one runs.
import { afterAll, describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { failureOf, tinyModel } from "./helpers.ts";

const greedy = { maxTokens: 10, temperature: 0, ignoreEos: true };
const prompt = Array.from({ length: 4000 }, (_, i) => (i * 7 + (i >> 4)) % 290);
const shape = { hiddenSize: 64, intermediateSize: 128, maxPositionEmbeddings: 8192 };
const models: Record<string, LanguageModel> = {
  llama: tinyModel({}, shape),
  "mistral, with a window": tinyModel({}, { ...shape, modelType: "mistral", slidingWindow: 200 }),
  "gemma2, alternate layers slide": tinyModel({}, { ...shape, modelType: "gemma2", headDim: 16, slidingWindow: 200 }),
};
afterAll(() => Promise.all(Object.values(models).map((m) => m.dispose())));

describe("an abort between the parts of a prompt", () => {
  for (const [name, model] of Object.entries(models))
    test(`leaves a usable session of ${name}`, async () => {
      let between = 0;
      for (const parts of [0, 1, 2, 3, 5, 8]) {
        await using session = model.session();
        const abort = new AbortController();
        const running = session.complete(prompt, { ...greedy, signal: abort.signal });
        let ended = false;
        running.catch(() => {}).finally(() => (ended = true));
        while (!ended && session.tokens.length < 256 * parts) await new Promise(setImmediate);
        for (const until = performance.now() + 20; performance.now() < until; ); // parts finish in the meantime
        abort.abort();
        await running.catch((error: unknown) => expect(error).toMatchObject({ code: "ABORTED" }));
        const held = session.tokens.length;
        if (held > 0 && held < prompt.length) between++;
        expect(session.tokens.slice(0, prompt.length)).toEqual(prompt.slice(0, held));
        if (held > prompt.length) continue;
        // Continue at once. The answer depends on every cached token.
        const next = prompt.slice(0, held + 3);
        expect((await session.complete(next, greedy)).tokens).toEqual((await model.complete(next, greedy)).tokens);
      }
      expect(between).toBeGreaterThan(0);
    });
});

test("several prompts of several parts get the answers of single calls", async () => {
  for (const model of Object.values(models)) {
    const prompts = [prompt.slice(0, 700), prompt.slice(5, 1400), [3], prompt.slice(9, 530)];
    const alone = [];
    for (const p of prompts) alone.push((await model.complete(p, greedy)).tokens);
    expect((await model.completeAll(prompts, greedy)).map((c) => c.tokens)).toEqual(alone);
  }
});

test("leaving a generator early, or disposing a session, while a part runs leaves the model usable", async () => {
  const { llama: model } = models;
  for await (const _ of model!.generate(prompt, greedy)) break;
  const session = model!.session();
  const running = failureOf(() => session.complete(prompt, greedy));
  await new Promise(setImmediate);
  session.dispose();
  expect((await running).code).toBe("DISPOSED");
  expect((await model!.complete([1, 2, 3], greedy)).tokens).toHaveLength(10);
});

test("an answer can cross the length that changes all RoPE angles (longrope) after its cache has grown", async () => {
  const ropeScaling = {
    ...{ ropeType: "longrope", originalMaxPositionEmbeddings: 2048 },
    ...{ shortFactor: Array(4).fill(1), longFactor: [1, 2, 3, 4] },
  };
  await using model = tinyModel(
    {},
    { modelType: "phi3", numHiddenLayers: 1, maxPositionEmbeddings: 4096, ropeScaling },
  );
  // The cache first has room for the prompt and 1,024 tokens, rounded up to 2,048 in all. It grows after that.
  const begin = prompt.slice(0, 1000);
  const { tokens } = await model.complete(begin, { ...greedy, maxTokens: 1060 });
  expect(tokens).toHaveLength(1060);
  const crossed = [...begin, ...tokens.slice(0, 1050)];
  expect((await model.complete(crossed, greedy)).tokens).toEqual(tokens.slice(1050));
});

test("timings have the time to the first token if a paged prompt's last part is a single token", async () => {
  const model = new LanguageModel({ model: models.llama!.model, cachePageSize: 16 });
  const { timings } = await model.complete(prompt.slice(0, 513), greedy);
  expect(timings.timeToFirstTokenMs).toBeGreaterThan(0);
  expect(timings.decodeTokensPerSecond).toBeGreaterThan(0);
});
