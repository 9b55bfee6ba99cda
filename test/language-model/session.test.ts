import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = tinyModel({ tokenizer: await tinyTokenizer() }, { maxPositionEmbeddings: 1024 });
});
afterAll(() => model.dispose());
const greedy = { maxTokens: 10, temperature: 0, ignoreEos: true };

describe("session", () => {
  test("gives the same result whether or not it reuses a prefix", async () => {
    await using session = model.session();
    const first = await session.complete([1, 2, 3, 4], greedy);
    expect(first.tokens).toEqual((await model.complete([1, 2, 3, 4], greedy)).tokens);
    // The last token was sampled but not fed back.
    expect(session.tokens).toEqual([1, 2, 3, 4, ...first.tokens.slice(0, -1)]);
    const longer = [1, 2, 3, 4, ...first.tokens, 9, 8];
    expect((await session.complete(longer, greedy)).tokens).toEqual((await model.complete(longer, greedy)).tokens);
    const other = [1, 2, 70];
    expect((await session.complete(other, greedy)).tokens).toEqual((await model.complete(other, greedy)).tokens);
    expect(session.tokens.slice(0, 3)).toEqual(other);
    expect((await session.complete(other, greedy)).tokens).toEqual((await model.complete(other, greedy)).tokens);
  });

  test("does not recompute a cached prompt", async () => {
    await using session = model.session();
    const prompt = Array.from({ length: 900 }, (_, i) => i % 300);
    await session.complete(prompt, { maxTokens: 1 });
    const { usage } = await session.complete([...prompt, 5], { maxTokens: 1 });
    expect(usage).toEqual({ promptTokens: 901, cachedTokens: 900, completionTokens: 1 });
    // The last id is always fed, because the next token is sampled from its logits.
    const again = await session.complete(prompt, { maxTokens: 1 });
    expect(again.usage.cachedTokens).toBe(899);
    expect((await model.complete(prompt, { maxTokens: 1 })).usage.cachedTokens).toBe(0);
  });

  test("gives the answers of the model without a session, even after its cache has grown", async () => {
    await using session = model.session();
    await session.complete([3], { ...greedy, maxTokens: 1 });
    const bytes = session.cacheBytes;
    const options = { maxTokens: 700, temperature: 0, ignoreEos: true };
    const { tokens } = await session.complete([3], options);
    expect(session.cacheBytes).toBeGreaterThan(bytes);
    expect(tokens).toEqual((await model.complete([3], options)).tokens);
    const more = [3, ...tokens, 4];
    expect((await session.complete(more, greedy)).tokens).toEqual((await model.complete(more, greedy)).tokens);
  });

  test("has independent forks", async () => {
    await using session = model.session();
    await session.complete([1, 2, 3], greedy);
    await using fork = await session.fork();
    expect(fork.tokens).toEqual(session.tokens);
    const [a, b] = await Promise.all([session.complete([1, 2, 3, 4], greedy), fork.complete([1, 2, 3, 5], greedy)]);
    expect(a.tokens).toEqual((await model.complete([1, 2, 3, 4], greedy)).tokens);
    expect(b.tokens).toEqual((await model.complete([1, 2, 3, 5], greedy)).tokens);
  });

  test("has forks with the same cache, and rejects calls while a fork is copied", async () => {
    const ids = Array.from({ length: 60 }, (_, i) => (i * 31) % 90);
    const session = model.session();
    await session.complete(ids, greedy);
    const forks = [session.fork(), session.fork()];
    // The call would overwrite the keys being copied.
    for (const call of [() => session.complete([...ids].reverse(), greedy), () => session.truncate(3)])
      expect((await failureOf(call)).message).toContain("one call at a time");
    for (const forking of forks) {
      await using fork = await forking;
      const { tokens, usage } = await fork.complete([...ids, 5], greedy);
      expect(usage.cachedTokens).toBe(60);
      expect(tokens).toEqual((await model.complete([...ids, 5], greedy)).tokens);
    }
    await session.complete([...ids].reverse(), greedy);
    const late = session.fork();
    session.dispose();
    expect(await failureOf(() => late)).toMatchObject({
      code: "DISPOSED",
      message: "session: used after dispose()",
    });
  });

  test("works with 16-bit caches, which take half the memory and round the keys and values", async () => {
    await using wide = model.session({ cacheDtype: "f32" });
    const exact = await wide.complete([1, 2, 3, 4], greedy);
    for (const cacheDtype of ["bf16", "f16"] as const) {
      await using session = model.session({ cacheDtype });
      const { logprobs, tokens } = await session.complete([1, 2, 3, 4], greedy);
      expect(session.cacheDtype).toBe(cacheDtype);
      expect(session.cacheBytes).toBe(wide.cacheBytes / 2);
      expect(tokens).toEqual(exact.tokens);
      expect(logprobs).not.toEqual(exact.logprobs);
      for (const [i, logprob] of logprobs.entries()) expect(logprob).toBeCloseTo(exact.logprobs[i]!, 1);
    }
  });

  test("keeps its tokens if a call is aborted before it starts", async () => {
    await using session = model.session();
    await session.complete([1, 2, 3], greedy);
    const held = [...session.tokens];
    const gone = await failureOf(() => session.complete([1, 2, 9], { signal: AbortSignal.abort() }));
    expect(gone.code).toBe("ABORTED");
    expect(session.tokens).toEqual(held);
    expect((await session.complete([1, 2, 9], greedy)).tokens).toEqual(
      (await model.complete([1, 2, 9], greedy)).tokens,
    );
  });

  test("allows one call at a time, validates options, and rejects calls once disposed", async () => {
    const session = model.session({ contextLength: 20 });
    const running = session.complete([1], { maxTokens: 5, ignoreEos: true });
    expect((await failureOf(() => session.complete([1]))).message).toContain("one call at a time");
    await running;
    expect((await failureOf(() => session.complete([1], { maxTokens: 21 }))).code).toBe("CONTEXT_OVERFLOW");
    expect((await failureOf(() => session.complete([1], { n: 2 }))).code).toBe("INVALID_ARGUMENT");
    expect((await failureOf(() => model.session({ contextLength: 9999 }))).message).toContain("contextLength");
    expect((await failureOf(() => model.session({ contextlength: 1 } as never))).message).toContain(
      "nearest: contextLength",
    );
    session.dispose();
    expect((await failureOf(() => session.complete([1]))).code).toBe("DISPOSED");
    expect((await failureOf(() => session.fork())).code).toBe("DISPOSED");
  });
});

describe("chat", () => {
  test("continues the text of all messages with a base model", async () => {
    const chat = model.chat({ system: "Animals." });
    const first = await chat.send("The cat", greedy);
    const prompt = "Animals.\nThe cat";
    expect(first.text).toBe((await model.complete(prompt, greedy)).text);
    const second = await chat.send("The dog", greedy);
    expect(second.text).toBe((await model.complete(`${prompt}${first.text}\nThe dog`, greedy)).text);
    expect(chat.messages.map((m) => m.role)).toEqual(["system", "user", "assistant", "user", "assistant"]);
    chat.dispose();
  });

  test("can be streamed, saved and forked", async () => {
    const chat = model.chat();
    let text = "";
    for await (const piece of chat.send("The bird", greedy)) text += piece.text;
    expect(chat.messages.at(-1)).toEqual({ role: "assistant", content: text });
    const restored = model.chat(JSON.parse(JSON.stringify(chat)));
    const fork = chat.fork();
    const answers = await Promise.all([chat, restored, fork].map(async (c) => (await c.send("and", greedy)).text));
    expect(new Set(answers).size).toBe(1);
    for (const c of [chat, restored, fork]) c.dispose();
  });

  test("keeps its messages after a failure, and then answers like a chat that has not failed", async () => {
    const [chat, other] = [model.chat(), model.chat()];
    for (const one of [chat, other]) await one.send("The cat", greedy);
    const before = JSON.stringify(chat);
    expect((await failureOf(() => chat.send("x", { signal: AbortSignal.abort() }).then())).code).toBe("ABORTED");
    expect((await failureOf(() => chat.send("x", { temperature: -1 }).then())).code).toBe("INVALID_ARGUMENT");
    expect(JSON.stringify(chat)).toBe(before);
    const first = chat.send("x", greedy).then();
    expect((await failureOf(() => chat.send("y", greedy).then())).message).toContain("one answer at a time");
    expect((await first).text).toBe((await other.send("x", greedy)).text);
    expect(JSON.stringify(chat)).toBe(JSON.stringify(other));
    for (const one of [chat, other]) one.dispose();
  });

  test("rejects invalid states", async () => {
    for (const state of [
      { messages: [{ role: "robot", content: "x" }] },
      { messages: [{ role: "user" }] },
      { messages: "x" },
      { sytem: "x" },
    ])
      expect((await failureOf(() => model.chat(state as never))).code).toBe("INVALID_ARGUMENT");
  });
});
