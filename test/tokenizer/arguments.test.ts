// Invalid arguments are rejected, and the error names them. No unknown option is silently ignored.
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { added, byteLevelJson, fromJson } from "./samples.ts";

const tokenizer = fromJson(byteLevelJson([], { added_tokens: [added(256, "<|end|>")] }));
// Untyped, as JavaScript callers see it.
const anything = tokenizer as unknown as Record<string, (...args: unknown[]) => unknown>;
const refused = (message: RegExp) =>
  expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });
/** Returns the result of a call, or what it throws. */
const outcome = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return error;
  }
};

describe("options", () => {
  it.each([
    ["encode", ["a", { addSpecial: false }], /^addSpecial: .*nearest: addSpecialTokens/],
    ["encode", ["a", { add_special_tokens: false }], /^add_special_tokens: .*nearest: addSpecialTokens/],
    ["encode", ["a", { allowSpecials: true }], /^allowSpecials: .*nearest: allowSpecial\)/],
    ["encode", ["a", { disallowed_special: true }], /^disallowed_special: .*nearest: forbidSpecial/],
    ["encode", ["a", { zzz: 1 }], /^zzz: expected one of addSpecialTokens, /],
    ["encode", ["a", { addSpecialTokens: "no" }], /^addSpecialTokens: expected true or false, got "no"/],
    ["encode", ["a", null], /^options: expected an object, got null/],
    ["encode", ["a", { signal: new AbortController().signal }], /^signal: /],
    ["encodeInto", ["a", new Uint32Array(4), { seeds: 1 }], /^seeds: .*nearest: seed/],
    ["count", ["a", { addspecialtokens: false }], /^addspecialtokens: .*nearest: addSpecialTokens/],
    ["encodeWithOffsets", ["a", { unit: "bytes" }], /^unit: .*nearest: units/],
    ["encodePair", ["a", "b", { dropouts: 0.1 }], /^dropouts: .*nearest: dropout/],
    ["decode", [[1], { skip_special_tokens: true }], /^skip_special_tokens: .*nearest: skipSpecialTokens/],
    ["decode", [[1], { skipSpecialTokens: 1 }], /^skipSpecialTokens: expected true or false, got 1/],
    ["decoder", [{ skip_special_tokens: true }], /^skip_special_tokens: /],
    [
      "applyChatTemplate",
      [[], { add_generation_prompt: true }],
      /^add_generation_prompt: .*nearest: addGenerationPrompt/,
    ],
    ["applyChatTemplate", [[], { enable_thinking: false }], /^enable_thinking: .*nearest: variables/],
    ["applyChatTemplate", [[], { addGenerationPrompt: "yes" }], /^addGenerationPrompt: expected true or false/],
    ["applyChatTemplateWithMask", [[], { tool: [] }], /^tool: .*nearest: tools/],
    ["fit", [[], { contextLength: 5, reserved: 1 }], /^reserved: .*nearest: reserve/],
    ["fit", [[], null], /^options: expected an object/],
  ])("are rejected synchronously: %s(%j)", (method, args, message) => {
    expect(outcome(() => anything[method]!(...args))).toEqual(refused(message));
  });

  it.each([
    ["encodeBatch", [["a"], { signals: 1 }], /^signals: .*nearest: signal/],
    ["encodeBatch", [["a"], { signal: {} }], /^signal: expected an AbortSignal/],
    ["encodeBatchJoined", [["a"], { outputs: 1 }], /^outputs: .*nearest: output/],
    ["encodeAsync", ["a", { add_special_tokens: false }], /^add_special_tokens: /],
    ["encodeInputs", [["a"], { max_length: 4 }], /^max_length: /],
    ["decodeBatch", [[[1]], { skipSpecial: true }], /^skipSpecial: .*nearest: skipSpecialTokens/],
  ])("reject the promise: %s(%j)", async (method, args, message) => {
    expect(await Promise.resolve(outcome(() => anything[method]!(...args))).catch((error: unknown) => error)).toEqual(
      refused(message),
    );
  });

  it("are also rejected by train and load when unknown", async () => {
    await expect(Tokenizer.train(["a"], { vocabSize: 300, vocab_size: 1 } as never)).rejects.toEqual(
      refused(/^vocab_size: .*nearest: vocabSize/),
    );
    await expect(Tokenizer.load("nowhere", { caches: true } as never)).rejects.toEqual(
      refused(/^caches: .*nearest: cache/),
    );
  });

  it("take effect when they are valid", async () => {
    expect([...tokenizer.encode("a<|end|>", { allowSpecial: true, addSpecialTokens: false })]).toEqual([97, 256]);
    expect([...(await tokenizer.encodeAsync("a", { signal: new AbortController().signal }))]).toEqual([97]);
    expect(tokenizer.decode([97, 256], { skipSpecialTokens: true })).toBe("a");
  });
});

describe("ids", () => {
  it.each([[5], [undefined], [null], ["12"], [[1n]], [[Number.NaN]], [[-1]], [[1.5]], [[2 ** 32]], [["1"]]])(
    "are rejected by decode and decoder if invalid: %s",
    (ids) => {
      expect(outcome(() => anything.decode!(ids))).toEqual(refused(/^ids/));
      expect(outcome(() => anything.decoder!({ after: ids ?? 0 }))).toEqual(refused(/^after/));
    },
  );
});

it("training rejects with whatever the progress callback throws, even a non-Error", async () => {
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === "merge") throw "stop";
  };
  await expect(Tokenizer.train(["hello world ".repeat(50)], { vocabSize: 300, onProgress })).rejects.toBe("stop");
});

it("a chain of decoders that multiplies the text is stopped at a limit", () => {
  const replace = { type: "Replace", pattern: { String: "l" }, content: "llll" };
  const grown = (rounds: number) =>
    fromJson(
      byteLevelJson([], {
        decoder: {
          type: "Sequence",
          decoders: [{ type: "ByteLevel" }, ...Array.from({ length: rounds }, () => replace)],
        },
      }),
    );
  expect(grown(2).decode([108])).toBe("l".repeat(16));
  expect(outcome(() => grown(30).decode([108]))).toMatchObject({
    code: "INVALID_FILE",
    message: expect.stringMatching(/^decoder: the decoded text exceeds the limit of/),
  });
});

it("detached arrays are rejected, and the error names the argument", async () => {
  const tokenizer = fromJson(byteLevelJson([]));
  const arrays = [Uint32Array.of(1, 2), Int32Array.of(1, 2), Uint8Array.of(1, 2)].map((array) => {
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array;
  });
  for (const array of arrays) {
    const refused = (name: string) =>
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: `${name}: expected an array that is not detached, got a detached ${array.constructor.name}`,
      });
    expect(() => tokenizer.decode(array)).toThrow(refused("ids"));
    expect(() => tokenizer.decoder({ after: array })).toThrow(refused("after"));
    await expect(tokenizer.decodeBatch([[1], array])).rejects.toEqual(refused("lists[1]"));
    await expect(tokenizer.encodeBatch(array as never)).rejects.toEqual(refused("texts"));
    if (array instanceof Uint32Array) expect(() => tokenizer.encodeInto("a", array)).toThrow(refused("output"));
    if (array instanceof Uint8Array)
      for (const name of ["tokenizer", "model"])
        expect(() => Tokenizer.fromFiles({ [name]: array })).toThrow(refused(`texts.${name}`));
  }
  expect(tokenizer.decode(new Uint32Array(0))).toBe("");
  expect(tokenizer.encodeInto("a", new Uint32Array(0))).toBe(1);
});
