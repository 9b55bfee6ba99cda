// Replies: iterated, awaited, or both.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Piece } from "../../lib/inference/sequence.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import type { Reply } from "../../lib/language-model/reply.ts";
import { failureOf } from "../inference/helpers.ts";
import { chatModel } from "../serve/helpers.ts";

let model: LanguageModel;
beforeAll(async () => {
  model = await chatModel();
});
afterAll(() => model.dispose());

const PROMPT = "The cat saw";
const options = { maxTokens: 12, temperature: 0, ignoreEos: true } as const;

async function piecesOf(reply: AsyncIterable<Piece>): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of reply) pieces.push(piece);
  return pieces;
}
const failed = (reply: Reply<unknown>) =>
  reply.then(
    () => "none",
    ({ code }: { code: string }) => code,
  );

describe("a reply", () => {
  test("can be iterated, and then awaited for the whole result", async () => {
    const { timings: _, ...expected } = await model.complete(PROMPT, options);
    const session = model.session();
    for (const reply of [model.generate(PROMPT, options), session.generate(PROMPT, options)]) {
      const pieces = await piecesOf(reply);
      expect(pieces.map(({ token }) => token)).toEqual(expected.tokens);
      const { text, tokens, finishReason, usage, timings } = await reply;
      expect({ text, tokens, finishReason }).toEqual({
        text: expected.text,
        tokens: expected.tokens,
        finishReason: "length",
      });
      expect(usage).toMatchObject({ promptTokens: expected.usage.promptTokens, completionTokens: 12 });
      expect(timings.timeToFirstTokenMs).toBeGreaterThan(0);
      expect(await reply.finally(() => {})).toBe(await reply);
    }
    session.dispose();
  });

  test("a reply of a chat has its tool calls after the loop", async () => {
    const parameters = { type: "object", properties: {}, additionalProperties: false };
    const tools = [{ type: "function", function: { name: "sea", parameters } }];
    const chat = model.chat({ tools });
    const reply = chat.send("Where?", { toolChoice: "required", maxTokens: 200, temperature: 0 });
    let text = "";
    for await (const piece of reply) text += piece.rawText;
    const { toolCalls } = await reply;
    expect(text).toContain("<tool_call>");
    expect(toolCalls).toMatchObject([{ type: "function", function: { name: "sea" } }]);
    expect(chat.messages).toHaveLength(2);
    chat.dispose();
  });

  test("can be awaited without iterating, and gives the result of complete", async () => {
    expect((await model.generate(PROMPT, options)).text).toBe((await model.complete(PROMPT, options)).text);
    const several = await model.generate([PROMPT, "Tom"], options);
    expect(several.map(({ text }) => text)).toEqual(
      (await model.completeAll([PROMPT, "Tom"], options)).map(({ text }) => text),
    );
    const twice = await model.generate([PROMPT], { ...options, n: 2 });
    expect(twice).toHaveLength(2);
  });

  test("can be read step by step, and awaited for the rest", async () => {
    const reply = model.generate(PROMPT, options);
    const { tokens } = await model.complete(PROMPT, options);
    expect((await reply.next()).value).toMatchObject({ token: tokens[0] });
    expect((await reply).tokens).toEqual(tokens);
    expect(await reply.next()).toEqual({ done: true, value: undefined });
    const begun = model.generate(PROMPT, options);
    await begun.next();
    expect(await piecesOf(begun)).toHaveLength(11);
  });

  test("a reply without pieces has the log-probabilities of its prompt when awaited", async () => {
    const reply = model.generate(PROMPT, { maxTokens: 0, promptLogprobs: 1 });
    expect(await piecesOf(reply)).toEqual([]);
    const { promptLogprobs, promptTop, finishReason, usage } = await reply;
    expect(promptLogprobs?.slice(1).every((value) => Number.isFinite(value))).toBe(true);
    expect(promptTop).toHaveLength(usage.promptTokens);
    expect(finishReason).toBe("length");
  });

  test("a reply with several answers to one prompt can only be iterated", async () => {
    const reply = model.generate(PROMPT, { ...options, n: 2 });
    expect(await piecesOf(reply)).toHaveLength(24);
    expect(await reply.then(null, ({ message }: Error) => message)).toBe(
      "n: expected 1 for a single answer (completeAll returns several), got 2",
    );
  });

  test("keeps its result if throw() is called after it is complete", async () => {
    const reply = model.generate(PROMPT, options);
    const { text } = await reply;
    await expect(reply.throw(new Error("mine"))).rejects.toThrow("mine");
    expect((await reply).text).toBe(text);
  });

  test("cannot be read twice", async () => {
    const reply = model.generate(PROMPT, options);
    await piecesOf(reply);
    expect((await failureOf(() => reply)).message).toContain("its pieces can be read once");
    const whole = model.generate(PROMPT, options);
    await whole;
    expect((await failureOf(() => whole)).message).toContain("its pieces can be read once");
    expect((await whole).tokens).toHaveLength(12);
  });
});

describe("a reply that does not finish", () => {
  test("rejects when awaited", async () => {
    const left = model.generate(PROMPT, options);
    for await (const _ of left) break;
    expect(await failed(left)).toBe("ABORTED");
    const unbegun = model.generate(PROMPT, options);
    await unbegun.return(undefined as never);
    expect(await failed(unbegun)).toBe("ABORTED");
    const disposed = model.generate(PROMPT, options);
    await disposed.next();
    await disposed[Symbol.asyncDispose]();
    expect(await failed(disposed)).toBe("ABORTED");
    const thrown = model.generate(PROMPT, options);
    await thrown.next();
    await expect(thrown.throw(new Error("mine"))).rejects.toThrow("mine");
    expect(await thrown.then(null, ({ message }: Error) => message)).toBe("mine");
    const unbegunThrown = model.generate(PROMPT, options);
    await expect(unbegunThrown.throw(new Error("mine"))).rejects.toThrow("mine");
    expect(await unbegunThrown.next()).toEqual({ done: true, value: undefined });
    expect(await unbegunThrown.then(null, ({ message }: Error) => message)).toBe("mine");
  });

  test("rejects once, without an unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      const { code, message } = await failureOf(() => model.generate(PROMPT, { temperature: -1 }));
      expect([code, message]).toEqual(["INVALID_ARGUMENT", expect.stringContaining("temperature")]);
      const controller = new AbortController();
      const reply = model.generate(PROMPT, { ...options, signal: controller.signal });
      await expect(
        (async () => {
          for await (const _ of reply) controller.abort();
        })(),
      ).rejects.toMatchObject({ code: "ABORTED" });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await failed(reply)).toBe("ABORTED");
      const chat = model.chat();
      expect((await failureOf(() => chat.send("x", { topP: 7 }))).code).toBe("INVALID_ARGUMENT");
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});
