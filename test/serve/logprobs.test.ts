// Log-probabilities with vocabularies that write spaces as ▁: each token keeps its space.
import { afterAll, describe, expect, test } from "vitest";
import { candidatesOf } from "../../lib/inference/sampling/candidates.ts";
import type { LanguageModel } from "../../lib/language-model/index.ts";
import { chatLogprobs, textLogprobs } from "../../lib/serve/openai/logprobs.ts";
import { TextOffsets } from "../../lib/serve/openai/text-offsets.ts";
import { tinyModel } from "../inference/helpers.ts";
import { fromJson, llamaDecoder, sentencePieceJson } from "../tokenizer/samples.ts";
import { type Json, withServer } from "./helpers.ts";

const words = ["▁", "▁x", "x", "▁y", "y"];
/**
 * Decoders, with the field `bytes` of the token <0xF0> in an answer. Metaspace does not join the bytes of several tokens, so the server
 * does not know them.
 */
const decoders = {
  "byte fallback": { decoder: llamaDecoder, bytes: [0xf0] },
  Metaspace: {
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Metaspace" }] },
    bytes: null,
  },
};
const models: LanguageModel[] = [];
afterAll(async () => {
  for (const model of models) await model.dispose();
});

describe.each(Object.entries(decoders))(
  "log-probabilities of a ▁ vocabulary (%s)",
  (_, { decoder, bytes: byteOfToken }) => {
    const tokenizer = fromJson(
      sentencePieceJson(
        words,
        [
          ["▁", "x"],
          ["▁", "y"],
        ],
        { decoder },
      ),
    );
    const model = tinyModel({ tokenizer });
    models.push(model);
    const used = new Set(words.map((word) => tokenizer.tokenToId(word)!));
    const logit_bias = Object.fromEntries(
      Array.from({ length: tokenizer.vocabSize }, (_, id) => [id, used.has(id) ? 0 : -100]),
    );
    const asked = { seed: 3, temperature: 1.5, max_tokens: 16, ignore_eos: true, logit_bias };
    const texts = words.map((word) => word.replaceAll("▁", " "));
    /** All texts by id: special tokens, bytes and words. A byte above 0x7F is only a part of a character. */
    const textsById = [
      ...["<unk>", "<s>", "</s>"],
      ...Array.from({ length: 256 }, (_, byte) => (byte < 0x80 ? String.fromCharCode(byte) : "\ufffd")),
      ...texts,
    ];

    test("keep leading spaces in tokens, offsets and top tokens", async () => {
      const { seed, temperature } = asked;
      const answer = await model.complete("x y", {
        ...{ seed, temperature, maxTokens: 16, ignoreEos: true, logitBias: logit_bias },
        topLogprobs: 20,
      });
      // The bias does not change log-probabilities, so the top tokens include bytes. Tokens with the same text share an entry.
      const topTexts = answer.top!.map((top) => [...new Set(top.map(({ token }) => textsById[token]))].sort());
      expect(topTexts.flat().some((text) => /^ ./.test(text!))).toBe(true);
      await withServer(model, {}, async (client) => {
        const { body } = await client.post("/v1/completions", { ...asked, prompt: "x y", logprobs: 20 });
        const { text, logprobs } = body.choices[0];
        const keysOf = (tops: object[]) => tops.map((top) => Object.keys(top).sort());
        expect(keysOf(logprobs.top_logprobs)).toEqual(topTexts);
        expect(logprobs.tokens.join("")).toBe(text);
        for (const token of logprobs.tokens) expect(texts).toContain(token);
        expect(logprobs.tokens.some((token: string) => token.startsWith(" "))).toBe(true);
        for (const [i, offset] of logprobs.text_offset.entries())
          expect(text.slice(offset).startsWith(logprobs.tokens[i])).toBe(true);
        const events = await client.events("/v1/completions", { ...asked, prompt: "x y", logprobs: 20 });
        const parts = events.flatMap((event) => event.choices[0].logprobs ?? []);
        expect(keysOf(parts.flatMap((part) => part.top_logprobs))).toEqual(topTexts);
        expect(parts.flatMap((part) => part.tokens)).toEqual(logprobs.tokens);
        expect(parts.flatMap((part) => part.text_offset)).toEqual(logprobs.text_offset);
      });
    });

    test("log-probabilities of an echoed prompt have offsets in the echoed text", async () => {
      await withServer(model, {}, async (client) => {
        const { body } = await client.post("/v1/completions", { ...asked, prompt: "x y", logprobs: 5, echo: true });
        const { text, logprobs } = body.choices[0];
        expect(text.startsWith("x y")).toBe(true);
        expect(logprobs.tokens.slice(0, 3)).toEqual(["<s>", " x", " y"]);
        expect(logprobs.text_offset.slice(0, 4)).toEqual([0, 0, 1, 3]);
        // <s> has no text, and the space of the first word is not part of the text.
        for (const [i, offset] of [...logprobs.text_offset.entries()].slice(2))
          expect(text.slice(offset).startsWith(logprobs.tokens[i])).toBe(true);
      });
    });

    test("of a chat include the space in token and bytes, and the byte of a byte token if it is known", async () => {
      await withServer(model, {}, async (client) => {
        const messages = [{ role: "user", content: "x" }];
        const of = async (bias: object) =>
          (await client.chat({ ...asked, logit_bias: bias, messages, logprobs: true, top_logprobs: 5 })).choices[0]
            .logprobs.content as Json[];
        const content = await of(logit_bias);
        for (const { token, bytes } of content) {
          expect(texts).toContain(token);
          expect(Buffer.from(bytes).toString()).toBe(token);
        }
        const [entry] = await of({ ...logit_bias, [3 + 0xf0]: 100 });
        expect(entry).toMatchObject({ token: "\ufffd", bytes: byteOfToken });
      });
    });

    test("distinguish ▁x from x among the top tokens, in server and library", () => {
      const [marked, plain, letter] = ["▁x", "x", "<0x78>"].map((name) => tokenizer.tokenToId(name)!) as number[];
      const topIds = Int32Array.of(plain!, marked!, letter!);
      const top = candidatesOf({ topIds, topLogprobs: Float32Array.of(-1, -2, -3) }, tokenizer);
      expect(top.map(({ text }) => text)).toEqual(["x", " x", "x"]);
      const piece = { text: "x", token: plain!, logprob: -1, index: 0, top };
      const offsets = new TextOffsets(tokenizer);
      const { top_logprobs } = textLogprobs([piece], tokenizer, { top: true, offsets });
      // The byte token has the same text as the letter, so the likelier one counts.
      expect(top_logprobs).toEqual([{ x: -1, " x": -2 }]);
      const [entry] = chatLogprobs([piece], tokenizer).content;
      expect(entry!.top_logprobs.map(({ token, bytes }) => [token, Buffer.from(bytes!).toString()])).toEqual([
        ["x", "x"],
        [" x", " x"],
        ["x", "x"],
      ]);
    });
  },
);

describe("Tokenizer.tokenText", () => {
  const textOf = (decoder: object | null, ...names: string[]) => {
    const tokenizer = fromJson(sentencePieceJson(["a", "##b", "▁a", "a</w>", "x", "y"], [], { decoder }));
    return names.map((name) => tokenizer.tokenText(tokenizer.tokenToId(name)!));
  };
  test("returns the text that the decoder adds for a token after another one", () => {
    expect(textOf({ type: "WordPiece", prefix: "##" }, "a", "##b", "x")).toEqual([" a", "b", " x"]);
    expect(textOf({ type: "Metaspace" }, "▁a", "a", "</s>")).toEqual([" a", "a", "</s>"]);
    expect(textOf({ type: "CTC" }, "a", "x")).toEqual(["a", "x"]);
    expect(textOf({ type: "BPEDecoder", suffix: "</w>" }, "a</w>", "a")).toEqual(["a", "a"]);
    expect(textOf(null, "a", "x")).toEqual([" a", " x"]);
    expect(textOf(llamaDecoder, "▁a", "<0x0A>", "<0xF0>", "<s>")).toEqual([" a", "\n", "\ufffd", "<s>"]);
  });
});
