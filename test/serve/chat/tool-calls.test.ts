// Tool calls in chat completions. One model is trained to write a call.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hermes } from "../../../lib/answers/formats/hermes.ts";
import { AnswerReader } from "../../../lib/answers/reader.ts";
import { REASONING_FORMATS } from "../../../lib/answers/reasoning.ts";
import type { Scheduled } from "../../../lib/inference/shared-scheduler.ts";
import { createModel, type LanguageModel } from "../../../lib/language-model/index.ts";
import { type Delta, deltas, wholeAnswer } from "../../../lib/serve/core/answer.ts";
import { Answers } from "../../../lib/serve/core/generate.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { sft } from "../../../lib/train/stages/sft.ts";
import { chatTemplate, type Json, user, withServer } from "../helpers.ts";

test("an answer limited to one call ends after it, without reading further", async () => {
  const call = (name: string) => `<tool_call>{"name":"${name}"}</tool_call>`;
  const texts = ["a ", `b${call("f")} c${call("g")}`, "d"];
  const read = async (single: boolean) => {
    let given = 0;
    const stream = async function* () {
      for (const [i, text] of texts.entries()) {
        given++;
        yield [{ text, token: i, logprob: 0, index: 0, ...(i === 2 && { finishReason: "stop" }) }];
      }
    };
    const sequence = { options: { stopTokens: new Set() }, ids: [], promptLength: 0, answer: {} };
    const one = { sequence, stream: stream() } as unknown as Scheduled;
    const parser = () => new AnswerReader({ calls: hermes, ...(single && { maxCalls: 1 }) });
    const parts: Delta[] = [];
    for await (const delta of deltas(one, { reading: { parser, named: false } })) parts.push(delta);
    const text = parts.map((part) => part.text).join("");
    const calls = parts.flatMap((part) => part.calls.map((made) => made.name));
    return { given, text, calls, finish: parts.at(-1)!.finishReason };
  };
  expect(await read(true)).toEqual({ given: 2, text: "a b", calls: ["f"], finish: "tool_calls" });
  expect(await read(false)).toEqual({ given: 3, text: "a b cd", calls: ["f", "g"], finish: "tool_calls" });
});

test("the usage counts the tokens up to the last allowed call, however many more were generated", async () => {
  const texts = ["a ", '<tool_call>{"name":"f"}', "</tool_call>", " b", "c"];
  const ids: number[] = [];
  const stream = Object.assign(
    (async function* () {
      const pieces = texts.map((text, token) => ({ text, token, logprob: 0, index: 0 }));
      ids.push(...pieces.map(({ token }) => token));
      yield pieces;
    })(),
    { cancel() {} },
  );
  const sequence = {
    options: { stopTokens: new Set() },
    ids,
    promptLength: 0,
    cachedTokens: 0,
    answer: {},
    get generated() {
      return ids.length;
    },
  };
  const parser = () => new AnswerReader({ calls: hermes, maxCalls: 1 });
  const answers = new Answers([{ sequence, stream } as unknown as Scheduled], {
    ...{ n: 1, signal: new AbortController().signal },
    reading: { parser, named: false },
  });
  const [answer] = await answers.read(wholeAnswer);
  expect(answer).toMatchObject({ text: "a", finishReason: "tool_calls" });
  expect([ids.length, answers.usage.completionTokens, answer!.tokens.length]).toEqual([5, 2, 2]);
});

test("tokens belong to the reasoning, the text or the call that they write, however many are ready at once", async () => {
  const answer = [
    "<th",
    "ink>",
    "So",
    " be it.",
    "</think>",
    "We",
    "ll.",
    "<tool_call>",
    '{"name":"f","arguments":',
    '{"a":1}}',
    "</tool_call>",
    " Done",
  ];
  const pieces = answer.map((text, token) => ({
    text,
    token,
    ...(token === answer.length - 1 && { finishReason: "stop" }),
  }));
  const read = async (sizes: readonly number[]) => {
    const stream = async function* () {
      const left = [...pieces];
      for (let i = 0; left.length > 0; i++) yield left.splice(0, sizes[i % sizes.length]);
    };
    const sequence = { options: { stopTokens: new Set() }, ids: [], promptLength: 0, answer: {} };
    const one = { sequence, stream: stream() } as unknown as Scheduled;
    const parser = () => new AnswerReader({ calls: hermes, reasoning: REASONING_FORMATS.think, promptEnd: "before" });
    const runs: { kind: string; tokens: number[] }[] = [];
    let held: number[] = [];
    for await (const { text, reasoning, calls, tokens } of deltas(one, { reading: { parser, named: false } })) {
      held.push(...tokens.map(({ token }) => token));
      const kinds = [text && "text", reasoning && "reasoning", calls.length > 0 && "call"].filter(Boolean);
      if (kinds.length === 0) continue;
      const kind = kinds.join();
      if (runs.at(-1)?.kind === kind) runs.at(-1)!.tokens.push(...held);
      else runs.push({ kind, tokens: held });
      held = [];
    }
    return runs;
  };
  const single = await read([1]);
  expect(single.map(({ kind }) => kind)).toEqual(["reasoning", "text", "call", "text"]);
  expect(single.flatMap(({ tokens }) => tokens)).toEqual(pieces.map(({ token }) => token));
  for (const sizes of [[2], [3], [5, 1], [100]]) expect(await read(sizes)).toEqual(single);
});

describe("an answer of a model with tools", () => {
  const answer = 'Well.\n<tool_call>\n{"name": "sea", "arguments": {"a": 1}}\n</tool_call>';
  let folder: string;
  let model: LanguageModel;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "heddle-tools-"));
    const text = `<tool_call>sea,[user]go[assistant]${answer}`;
    const trained = await Tokenizer.train([`${text}\n[user]no[assistant]`], { vocabSize: 300 });
    const files = trained.files();
    const tokenizer = Tokenizer.fromFiles({
      tokenizer: files["tokenizer.json"],
      tokenizerConfig: files["tokenizer_config.json"],
      chatTemplate,
    });
    const sizes = {
      hiddenSize: 64,
      intermediateSize: 128,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
    };
    model = createModel({ modelType: "llama", ...sizes, maxPositionEmbeddings: 256 }, { tokenizer, seed: 1 });
    const rows = ["<tool_call>sea,", ""].map((begin) => ({
      prompt: `${begin}[user]go[assistant]`,
      completion: answer,
    }));
    const data = join(folder, "rows.jsonl");
    await writeFile(data, rows.map((row) => JSON.stringify(row)).join("\n"));
    const run = sft(model, { data, maxSteps: 400, perDeviceTrainBatchSize: 2, maxSeqLength: 128, learningRate: 1e-3 });
    let loss = 1;
    for await (const event of run) if ("loss" in event) loss = event.loss;
    expect(loss).toBeLessThan(0.02); // otherwise the model has not learned the call
  });
  afterAll(async () => {
    await model?.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const tools = [{ type: "function", function: { name: "sea", parameters: { type: "object" } } }];
  const body = { messages: user("go"), temperature: 0, max_tokens: 100 };
  const called = {
    id: expect.stringMatching(/^call_/),
    type: "function",
    function: { name: "sea", arguments: '{"a":1}' },
  };

  test("returns calls and text, whole and streamed", () =>
    withServer(model, {}, async (client) => {
      expect((await client.chat({ ...body, tools })).choices[0]).toMatchObject({
        message: { role: "assistant", content: "Well.", tool_calls: [called] },
        finish_reason: "tool_calls",
      });
      const choices = (await client.events("/v1/chat/completions", { ...body, tools })).map((e) => e.choices[0]);
      expect(choices.map((choice: Json) => choice.delta.content ?? "").join("")).toBe("Well.");
      const [first, ...rest] = choices.flatMap((choice: Json) => choice.delta.tool_calls ?? []);
      expect(first).toMatchObject({ index: 0, id: called.id, type: "function", function: { name: "sea" } });
      const parts = [first, ...rest].map((part: Json) => part.function.arguments);
      expect(parts.join("")).toBe(called.function.arguments);
      expect(rest.every((part: Json) => part.index === 0 && part.id === undefined)).toBe(true);
      expect(choices.at(-1)).toMatchObject({ delta: {}, finish_reason: "tool_calls" });
    }));

  test("is plain text if no tools are given", () =>
    withServer(model, {}, async (client) => {
      for (const more of [{}, { tools, tool_choice: "none" }]) {
        const choice = (await client.chat({ ...body, ...more })).choices[0];
        expect(choice.message).toEqual({ role: "assistant", content: answer, refusal: null });
        expect(choice.finish_reason).toBe("stop");
      }
    }));
});
