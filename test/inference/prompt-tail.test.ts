// Answers continue the prompt's text and repeat none of it, whatever the prompt's last tokens are.
import { afterAll, describe, expect, test } from "vitest";
import type { Completion, LanguageModel } from "../../lib/language-model/index.ts";
import type { Tokenizer } from "../../lib/tokenizer/index.ts";
import { withServer } from "../serve/helpers.ts";
import { fromJson, llamaDecoder, sentencePieceJson } from "../tokenizer/samples.ts";
import { tinyModel } from "./helpers.ts";

const words = ["▁", "▁a", "a", "▁b", "b", "##c", "##d", "|", "▁▁"];
const decoders = {
  "byte fallback": llamaDecoder,
  Metaspace: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Metaspace" }] },
  WordPiece: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "WordPiece", prefix: "##" }] },
  CTC: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "CTC" }] },
};
const models: LanguageModel[] = [];
function modelWith(decoder: object): LanguageModel {
  const tokenizer = fromJson(sentencePieceJson(words, [["▁", "a"]], { decoder }));
  // Answers consist of words and of the bytes of two characters.
  const bytes = [...new Set(Buffer.from("🦙é"))].map((byte) => 3 + byte);
  const used = new Set([...words.map((word) => tokenizer.tokenToId(word)!), ...bytes]);
  const logitBias = Object.fromEntries(
    Array.from({ length: tokenizer.vocabSize }, (_, id) => [id, used.has(id) ? 0 : -100]),
  );
  const model = tinyModel({ tokenizer });
  models.push(model);
  biases.set(model, logitBias);
  return model;
}
const biases = new WeakMap<LanguageModel, Record<string, number>>();
afterAll(async () => {
  for (const model of models) await model.dispose();
});

const prompts = ["a 🦙", "🦙", "é", "a b", "a🦙é "];
const sampled = { temperature: 1.5, maxTokens: 12, stop: [] as string[] };

/** Returns the text that an answer's tokens add to its prompt's text. */
function expectedContinuation(tokenizer: Tokenizer, prompt: readonly number[], tokens: readonly number[]): string {
  const skip = { skipSpecialTokens: true };
  const shown = tokenizer.decode(prompt, skip);
  const all = tokenizer.decode([...prompt, ...tokens], skip);
  if (all.startsWith(shown)) return all.slice(shown.length);
  // The answer's bytes can make the prompt's last bytes malformed, so that the prompt decodes differently. The answer's text must still
  // exclude the prompt.
  const decoder = tokenizer.decoder({ ...skip, after: prompt });
  return tokens.map((id) => decoder.push(id)).join("") + decoder.flush();
}

describe.each(Object.entries(decoders))(
  "answers after a prompt that ends in byte-fallback tokens (%s decoder)",
  (_, decoder) => {
    const model = modelWith(decoder);
    const tokenizer = model.tokenizer!;
    const options = (seed: number) => ({ ...sampled, seed, logitBias: biases.get(model)! });
    const beamOptions = (numBeams: number) => ({ ...options(0), seed: undefined, temperature: undefined, numBeams });
    const idsOf = (prompt: string) => [...tokenizer.encode(prompt, { allowSpecial: true })];
    const expectContinuation = (prompt: string, { text, tokens }: Pick<Completion, "text" | "tokens">) =>
      expect([prompt, tokens, text]).toEqual([prompt, tokens, expectedContinuation(tokenizer, idsOf(prompt), tokens)]);

    test("continue the prompt without repeating it, streamed or not, alone and in a batch", async () => {
      for (const [seed, prompt] of prompts.entries()) {
        const answer = await model.complete(prompt, options(seed));
        expectContinuation(prompt, answer);
        let streamed = "";
        for await (const piece of model.generate(prompt, options(seed))) streamed += piece.text;
        expect(streamed).toBe(answer.text);
      }
      const together = await model.completeAll(prompts, options(7));
      for (const [i, answer] of together.entries()) expectContinuation(prompts[i]!, answer);
    });

    test("continue the prompt without repeating it, with beam search and in a session", async () => {
      const session = model.session();
      for (const [seed, prompt] of prompts.entries()) {
        expectContinuation(prompt, await model.complete(prompt, beamOptions(3)));
        expectContinuation(prompt, await session.complete(prompt, options(seed)));
      }
      session.dispose();
    });

    test("do not end because of a stop string in the prompt", async () => {
      for (const numBeams of [1, 2]) {
        const how = numBeams > 1 ? beamOptions(numBeams) : options(1);
        // Allow words only, so that no part of the stop text can come from the answer.
        const logitBias = { ...how.logitBias };
        for (let byte = 0; byte < 256; byte++) logitBias[3 + byte] = -100;
        const answer = await model.complete("a 🦙", { ...how, logitBias, stop: ["🦙"] });
        expect(answer.finishReason).toBe("length");
        expect(answer.tokens).toHaveLength(12);
        expectContinuation("a 🦙", answer);
      }
    });

    test("continue the prompt without repeating it on the server, streamed or not", async () => {
      await withServer(model, {}, async (client) => {
        for (const [seed, prompt] of prompts.entries()) {
          const body = { prompt, seed, temperature: 1.5, max_tokens: 12, logit_bias: biases.get(model)! };
          const whole = await client.post("/v1/completions", body);
          const { text, tokens } = await model.complete(prompt, options(seed));
          expectContinuation(prompt, { text, tokens });
          expect(whole.body.choices[0].text).toBe(text);
          const events = await client.events("/v1/completions", body);
          expect(events.map((event) => event.choices[0]?.text ?? "").join("")).toBe(text);
        }
      });
    });
  },
);

test.each(["byte fallback", "Metaspace"] as const)(
  "a decoder that starts after a prompt decodes the answer's bytes without the prompt's (%s decoder)",
  (name) => {
    const tokenizer = fromJson(sentencePieceJson(words, [["▁", "a"]], { decoder: decoders[name] }));
    const prompt = tokenizer.encode("a 🦙", { allowSpecial: true });
    const bytes = (text: string, count: number) => [...Buffer.from(text)].slice(0, count).map((byte) => 3 + byte);
    const answer = (tokens: number[]) => {
      const decoder = tokenizer.decoder({ skipSpecialTokens: true, after: prompt });
      return tokens.map((id) => decoder.push(id)).join("") + decoder.flush();
    };
    expect(answer([...bytes("é", 2), tokenizer.tokenToId("▁b")!])).toBe("é b");
    // Half a character makes the whole run malformed. Its two bytes are two replacement characters.
    expect(answer([...bytes("🦙", 2), tokenizer.tokenToId("b")!])).toBe("\ufffd\ufffdb");
  },
);
