import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { leastOf } from "../helpers/clock.ts";
import { failureOf, tinyModel, tinyTokenizer } from "./helpers.ts";

/** A model big enough that a long prompt takes far more than 50 ms. */
const slow = () =>
  tinyModel(
    {},
    {
      hiddenSize: 256,
      intermediateSize: 1024,
      numHiddenLayers: 6,
      numAttentionHeads: 4,
      numKeyValueHeads: 4,
      maxPositionEmbeddings: 8192,
      initializerRange: 0.02,
    },
  );

describe("an abort", () => {
  test("an abort by a signal that many calls share causes no leak warning and leaves no listeners", async () => {
    await using model = tinyModel();
    const batcher = model.batcher();
    const { signal } = new AbortController();
    const heard: AbortSignal[] = [];
    const { addEventListener } = signal;
    signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
      heard.push(signal);
      expect(getEventListeners(signal, "abort").length).toBeLessThan(10);
      return addEventListener.apply(signal, given);
    };
    const options = { maxTokens: 3, signal };
    const calls = Array.from({ length: 24 }, (_, i) => [
      model.complete([1 + i], options),
      batcher.complete([1 + i], options),
      model.embed([1 + i], { signal }),
    ]);
    await Promise.all(calls.flat());
    expect(heard.length).toBeGreaterThan(0);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    const controller = new AbortController();
    const late = Array.from({ length: 24 }, () =>
      failureOf(() => model.complete([1], { maxTokens: 60, ignoreEos: true, signal: controller.signal })),
    );
    await model.complete([1], { maxTokens: 1 });
    controller.abort();
    expect((await Promise.all(late)).map(({ code }) => code)).toEqual(late.map(() => "ABORTED"));
    await batcher.dispose();
  });

  test("takes effect during prefill within 50 ms", async () => {
    await using model = slow();
    const prompt = Array.from({ length: 8000 }, (_, i) => i % 320);
    const attempt = async () => {
      const controller = new AbortController();
      const work = model.complete(prompt, { maxTokens: 4, signal: controller.signal }).catch((e) => e);
      let settled = false;
      work.then(() => {
        settled = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 150));
      expect(settled).toBe(false);
      const before = performance.now();
      controller.abort();
      const error = await work;
      expect(error.code).toBe("ABORTED");
      return performance.now() - before;
    };
    expect(await leastOf(50, attempt)).toBeLessThan(50);
    // The device is free again soon, so the native side noticed the abort too.
    const after = performance.now();
    await model.complete([1], { maxTokens: 1 });
    expect(performance.now() - after).toBeLessThan(2000);
  });

  test("takes effect in a beam search within 50 ms, with penalties and without", async () => {
    await using model = tinyModel({}, { vocabSize: 20_000, hiddenSize: 64, maxPositionEmbeddings: 2048 });
    for (const given of [{}, { repetitionPenalty: 1.1 }]) {
      const attempt = async () => {
        const controller = new AbortController();
        const { signal } = controller;
        const work = model.complete([1, 2, 3], { numBeams: 8, maxTokens: 2000, ...given, signal }).catch((e) => e);
        await new Promise((resolve) => setTimeout(resolve, 150));
        const before = performance.now();
        controller.abort();
        expect((await work).code).toBe("ABORTED");
        return performance.now() - before;
      };
      expect(await leastOf(50, attempt)).toBeLessThan(50);
    }
  });

  test("takes effect between tokens, and before the first", async () => {
    await using model = tinyModel();
    const controller = new AbortController();
    let count = 0;
    const error = await failureOf(async () => {
      for await (const _ of model.generate([1, 2], { maxTokens: 100, ignoreEos: true, signal: controller.signal }))
        if (++count === 5) controller.abort();
    });
    expect([error.code, count]).toEqual(["ABORTED", 5]);
    expect((await failureOf(() => model.complete([1], { signal: AbortSignal.abort() }))).code).toBe("ABORTED");
    expect((await model.complete([1], { maxTokens: 1 })).tokens).toHaveLength(1);
  });

  test("an abort by leaving the loop early leaves the model usable", async () => {
    await using model = tinyModel();
    for (let i = 0; i < 20; i++) for await (const _ of model.generate([1, 2], { maxTokens: 50 })) break;
    expect((await model.complete([1], { maxTokens: 1 })).tokens).toHaveLength(1);
  });
});

describe("dispose", () => {
  test("makes every method that uses the weights throw DISPOSED, and may be called twice", async () => {
    const model = tinyModel({ tokenizer: await tinyTokenizer() });
    await model.model.addAdapter("a", { r: 2 });
    await model.dispose();
    await model.dispose();
    // These only change which adapters apply, or check options.
    const others = ["constructor", "dispose", "unmergeAdapters", "setActiveAdapters", "removeAdapter", "checkTexts"];
    const given: Record<string, unknown[]> = {
      ...{ respond: [[{ role: "user", content: "a" }]], rerank: ["a", ["b"]], completeAll: [["a"]] },
      ...{ batcher: [], session: [], chat: [] },
    };
    const methods = Object.entries(Object.getOwnPropertyDescriptors(LanguageModel.prototype)).filter(
      ([name, { value }]) => typeof value === "function" && !others.includes(name),
    );
    expect(methods.length).toBeGreaterThan(15);
    for (const [name, { value }] of methods)
      expect((await failureOf(() => value.apply(model, given[name] ?? ["a"]))).code, name).toBe("DISPOSED");
  });

  test("dispose during a call ends the call with DISPOSED", async () => {
    const model = tinyModel();
    let count = 0;
    const error = await failureOf(async () => {
      for await (const _ of model.generate([1], { maxTokens: 50, ignoreEos: true }))
        if (++count === 3) await model.dispose();
    });
    expect([error.code, count]).toEqual(["DISPOSED", 3]);
  });

  test("frees all memory of models that are created and disposed in turn", async () => {
    const round = async () => {
      const model = tinyModel({}, { hiddenSize: 128, intermediateSize: 256, vocabSize: 4096 });
      await model.complete([1], { maxTokens: 1 });
      await model.dispose();
    };
    for (let i = 0; i < 5; i++) await round();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 40; i++) await round();
    // One model's weights are 5 MB. A leak of all 40 would take 200 MB, and a leak of the embeddings alone 80 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(60e6);
  });
});
