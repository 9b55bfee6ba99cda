import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isAccepted, normalizeAnswer, wordF1 } from "../../lib/eval/answers.ts";
import { multipleChoice } from "../../lib/eval/choice.ts";
import { declinesBy } from "../../lib/eval/decline.ts";
import { questionAnswering } from "../../lib/eval/qa.ts";
import { scoreContinuations } from "../../lib/inference/continuations.ts";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { expectError } from "../formats/helpers.ts";
import { failureOf, tinyModel, tinyTokenizer } from "../inference/helpers.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-eval-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("answers", () => {
  test("are normalized before a comparison, as in SQuAD", () => {
    expect(normalizeAnswer("  The  Eiffel-Tower, in a  PARIS!")).toBe("eiffeltower in paris");
    expect(normalizeAnswer("Ａ「東京」。")).toBe("東京");
    expect(normalizeAnswer("another theatre")).toBe("another theatre");
    // The a in Ça and año is part of a word, not an article.
    expect(normalizeAnswer("Ça, el año, Cruseña, la idéa")).toBe("ça el año cruseña la idéa");
    expect(normalizeAnswer("the a\u0301lamo")).toBe("álamo");
  });
  test("are compared with several accepted answers, by equality or containment", () => {
    expect(isAccepted("the Paris.", ["Lyon", "paris"])).toBe(true);
    expect(isAccepted("It is Paris", ["Paris"])).toBe(false);
    expect(isAccepted("It is Paris, I think", ["Paris"], "contains")).toBe(true);
    expect(isAccepted("comparison", ["paris"], "contains")).toBe(false);
    expect(isAccepted("", [""], "contains")).toBe(true);
    expect(isAccepted("anything", ["!"], "contains")).toBe(false);
  });
  test("are compared by F1 over words", () => {
    // Precision is 2/3 and recall is 1: 2·(2/3)·1 / (2/3 + 1).
    expect(wordF1("big red ball", ["red ball"])).toBeCloseTo(0.8);
    expect(wordF1("ball ball", ["ball"])).toBeCloseTo(2 / 3);
    expect(wordF1("x", ["y", "x"])).toBe(1);
    expect(wordF1("", ["x"])).toBe(0);
  });
});

describe("detection of answers that decline", () => {
  const declines = declinesBy();
  test.each([
    "I don't know.",
    "I do not know that.",
    "Sorry, I can’t answer this question.",
    "I'm not sure.",
    "That is unknown",
    "I do not have information about it",
    "There is no information on this country.",
    "The text does not say.",
    "That is not mentioned.",
    "It isn't known.",
    "They aren’t specified in the text.",
    "There is no such country.",
    "None of the above",
  ])('accepts "%s"', (text) => {
    expect(declines(text)).toBe(true);
  });
  test.each([
    "Paris",
    "He knows it.",
    "It is known as Rome.",
    "The unsurprising answer",
    "Nobody",
    "I know: Paris",
    "",
  ])('rejects "%s"', (text) => {
    expect(declines(text)).toBe(false);
  });
  test("can be configured by patterns, texts and functions", async () => {
    expect(declinesBy(["Pass"])("I PASS on this")).toBe(true);
    expect(declinesBy(["Pass"])("I don't know")).toBe(false);
    const global = declinesBy([/no\b/g]);
    expect([global("no"), global("no"), global("now")]).toEqual([true, true, false]);
    expect(declinesBy((answer) => answer === "?")("?")).toBe(true);
    expect(declinesBy([/No idea/])("No idea")).toBe(true);
    expect(declinesBy([/No idea/])("I have NO  idea.")).toBe(true);
    expect(declinesBy([/can’t say/])("I can’t say")).toBe(true);
    expect(declinesBy([/can't say/u])("I Can’t say")).toBe(true);
    expect(declinesBy([/a\n+b/])("A\n\nB")).toBe(true);
    await expectError(() => declinesBy([3 as never]), "INVALID_ARGUMENT", /declines: expected/);
  });
});

describe("log-likelihoods of continuations", () => {
  test("equal those of each sequence alone, whether or not sequences share a prompt or a forward pass", async () => {
    await using model = tinyModel();
    const random = (n: number, seed: number) => Array.from({ length: n }, (_, i) => (i * 37 + seed * 101) % 320);
    const groups = Array.from({ length: 19 }, (_, g) => ({
      prompt: random(1 + ((g * 13) % 40), g),
      continuations: Array.from({ length: 1 + (g % 4) }, (_, c) =>
        random((g + c) % 5 === 0 ? 0 : 1 + ((g + c) % 17), g + c),
      ),
    }));
    const got = await scoreContinuations(model.model, groups, { contextLength: 128 });
    for (const [g, { prompt, continuations }] of groups.entries())
      for (const [c, ids] of continuations.entries()) {
        const alone = await model.score([...prompt, ...ids], { from: prompt.length });
        expect(got[g]![c]).toHaveLength(ids.length);
        for (const [i, v] of [...got[g]![c]!].entries()) expect(v).toBeCloseTo(alone[prompt.length + i]!, 4);
      }
  });
  test("support prompts longer than a forward pass", async () => {
    await using model = createModel({
      modelType: "llama",
      hiddenSize: 16,
      numHiddenLayers: 1,
      vocabSize: 50,
      numAttentionHeads: 2,
    });
    const prompt = Array.from({ length: 700 }, (_, i) => (i * 7) % 50);
    const continuations = [[1, 2, 3], Array.from({ length: 300 }, (_, i) => (i * 3) % 50)];
    const [got] = await scoreContinuations(model.model, [{ prompt, continuations }], { contextLength: 1024 });
    for (const [c, ids] of continuations.entries()) {
      const alone = await model.score([...prompt, ...ids], { from: prompt.length });
      expect(got![c]).toHaveLength(ids.length);
      for (const [i, v] of [...got![c]!].entries()) expect(v).toBeCloseTo(alone[prompt.length + i]!, 4);
    }
  });
});

describe("multiple choice", () => {
  test("scores, normalization and probabilities follow from the model's log-probabilities", async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    const rows = [
      { question: "What did the cat see?", choices: ["a house", "the sea and the dog", "café"], answer: 1 },
      { prompt: "The dog saw ", choices: ["the sea", "a bird"], answer: "a bird" },
      { prompt: "The bird ran home", choices: [".", " and the cat"], answer: 0 },
    ];
    const texts = [
      rows[0]!.choices.map((c) => `Question: What did the cat see?\nAnswer: ${c}`),
      rows[1]!.choices.map((c) => `The dog saw ${c}`),
      ["The bird ran home .", "The bird ran home and the cat"],
    ];
    const prompts = ["Question: What did the cat see?\nAnswer:", "The dog saw ", "The bird ran home"];
    const sums: { sum: number; tokens: number; characters: number; bytes: number }[][] = [];
    for (const [r, list] of texts.entries()) {
      sums.push([]);
      const base = [...model.tokenizer!.encode(prompts[r]!)];
      for (const [c, text] of list.entries()) {
        const ids = [...model.tokenizer!.encode(text)];
        const from = ids.findIndex((id, i) => id !== base[i]);
        const scores = [...(await model.score(ids))].slice(from);
        const sum = scores.reduce((a, b) => a + b, 0);
        const choice = rows[r]!.choices[c]!;
        sums[r]!.push({ sum, tokens: scores.length, characters: choice.length, bytes: Buffer.byteLength(choice) });
      }
    }
    for (const normalization of ["none", "tokens", "characters", "bytes"] as const) {
      const result = await multipleChoice(model, rows, { normalization });
      for (const [r, list] of sums.entries()) {
        const compared = list.map(({ sum, ...lengths }) => sum / { none: 1, ...lengths }[normalization]);
        const total = compared.reduce((n, v) => n + Math.exp(v), 0);
        const { choice, probabilities, logprobs } = result.answers[r]!;
        expect(choice).toBe(compared.indexOf(Math.max(...compared)));
        for (const [c, s] of list.entries()) {
          expect(logprobs[c]).toBeCloseTo(s.sum, 3);
          expect(probabilities[c]).toBeCloseTo(Math.exp(compared[c]!) / total, 4);
        }
      }
      expect(result.count).toBe(3);
      expect(result.accuracy).toBeCloseTo(result.answers.filter((a) => a.correct).length / 3);
      expect(result.abstention).toEqual({
        answerable: 3,
        unanswerable: 0,
        declined: null,
        invented: null,
        wronglyDeclined: 0,
      });
    }
  });

  test("special tokens in a prompt are encoded as such", async () => {
    const tokenizer = await Tokenizer.train(["user says hello, assistant says hello"], {
      vocabSize: 300,
      specialTokens: ["<|bos|>", "<|user|>", "<|assistant|>"],
    });
    await using model = tinyModel({ tokenizer });
    const [prompt, choices] = ["<|user|>hello<|assistant|>", [" hello", " says"]];
    const { answers } = await multipleChoice(model, [{ prompt, choices, answer: 0 }]);
    const ids = [...tokenizer.encode(prompt, { allowSpecial: true })];
    expect(ids[0]).toBe(tokenizer.tokenToId("<|user|>"));
    for (const [c, choice] of choices.entries()) {
      const own = [...tokenizer.encode(choice)];
      const scores = (await model.score([...ids, ...own])).slice(ids.length);
      expect(answers[0]!.logprobs[c]).toBeCloseTo(
        scores.reduce((a, b) => a + b, 0),
        3,
      );
    }
  });

  test("choosing an answer that declines counts as declining", async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    const rows = [
      { prompt: "The cat", choices: ["x", "I do not know"], unanswerable: true },
      { prompt: "The cat", choices: ["x", "I do not know"], answer: "x" },
    ];
    const result = await multipleChoice(model, rows, { declines: (text) => text === "x" });
    const choseX = result.answers[0]!.choice === 0;
    expect(result.abstention).toMatchObject({ declined: choseX ? 1 : 0, invented: choseX ? 0 : 1 });
    expect(result.answers[0]!.correct).toBe(false);
    const other = await multipleChoice(model, rows, { declines: (text) => text !== "x" });
    expect(other.abstention).toMatchObject({
      declined: choseX ? 0 : 1,
      invented: choseX ? 1 : 0,
      wronglyDeclined: choseX ? 0 : 1,
    });
  });
});

/** A model with given answers and log-probabilities. */
function answering(tokenizer: Tokenizer, answers: Record<string, [string, number[]]>): LanguageModel {
  return {
    tokenizer,
    contextLength: 128,
    async completeAll(prompts: number[][], options: { stop: string[] }) {
      return prompts.map((ids) => {
        const text = tokenizer.decode(ids, { skipSpecialTokens: true });
        const key = Object.keys(answers).find((k) => text.includes(k))!;
        expect(options.stop).toEqual(["\n"]);
        return { text: answers[key]![0], logprobs: answers[key]![1] };
      });
    },
  } as unknown as LanguageModel;
}

describe("question answering", () => {
  test("gives the hand-computed exact match, F1, abstention and confidence", async () => {
    const tokenizer = await tinyTokenizer();
    const model = answering(tokenizer, {
      one: [" Paris.", [-0.1, -0.1]],
      two: [" I do not know.", [-0.5]],
      three: [" the big river", [-1, -1]],
      four: [" I don't know", [-0.2]],
      five: [" Atlantis", [Math.log(0.5)]],
      six: [" Unknown", [-0.3]],
    });
    const rows = [
      { question: "one?", answer: "paris" },
      { question: "two?", answers: ["Rome", "Roma"] },
      { question: "three?", answer: ["river"] },
      { question: "four?", unanswerable: true },
      { question: "five?", unanswerable: true, answers: [] },
      { question: "six?", answer: "unknown" }, // an accepted answer is never a decline
    ];
    const result = await questionAnswering(model, rows, { calibration: { bins: 10 } });
    expect(result.answers.map((a) => a.text)).toEqual([
      "Paris.",
      "I do not know.",
      "the big river",
      "I don't know",
      "Atlantis",
      "Unknown",
    ]);
    expect(result.accuracy).toBeCloseTo(2 / 4);
    expect(result.f1).toBeCloseTo((1 + 0 + 2 / 3 + 1) / 4);
    expect(result.abstention).toEqual({
      answerable: 4,
      unanswerable: 2,
      declined: 1 / 2,
      invented: 1 / 2,
      wronglyDeclined: 1 / 4,
    });
    expect(result.answers[0]!.confidence).toBeCloseTo(Math.exp(-0.2));
    // Confidences of the answers that do not decline, each in a separate bin: Paris 0.819 right, river 0.135 wrong, Atlantis 0.5 wrong,
    // Unknown 0.741 right.
    expect(result.ece).toBeCloseTo((1 - Math.exp(-0.2) + Math.exp(-2) + 0.5 + (1 - Math.exp(-0.3))) / 4, 5);
    const contains = await questionAnswering(model, rows, { match: "contains", confidence: "token" });
    expect(contains.accuracy).toBeCloseTo(3 / 4);
    expect(contains.answers[2]!.confidence).toBeCloseTo(Math.exp(-1));
  });

  test("gives the model's completions, as text and as a chat", async () => {
    const tokenizer = await tinyTokenizer();
    await using model = tinyModel({ tokenizer });
    const rows = [
      { question: "The cat?", answer: "x" },
      { prompt: "The dog", answer: "x" },
    ];
    const result = await questionAnswering(model, rows, { maxTokens: 5 });
    const alone = await model.complete("Question: The cat?\nAnswer:", { maxTokens: 5, temperature: 0, stop: ["\n"] });
    expect(result.answers[0]!.text).toBe(alone.text.trim());
    const other = await model.complete("The dog", { maxTokens: 5, temperature: 0, stop: ["\n"] });
    expect(result.answers[1]!.text).toBe(other.text.trim());
    const asChat = await questionAnswering(
      model,
      [{ messages: [{ role: "user", content: "The cat?" }], answer: "x" }],
      { maxTokens: 5 },
    );
    const { ids } = tokenizer.applyChatTemplate([{ role: "user", content: "The cat?" }], { addGenerationPrompt: true });
    const chat = await model.complete(ids, { maxTokens: 5, temperature: 0 });
    expect(asChat.answers[0]!.text).toBe(chat.text.trim());
  });
});

describe("evaluations of question files", () => {
  test.each<["choice" | "qa", object, string]>([
    ["choice", { choices: ["a", "b"], answer: 0 }, "question: expected a prompt, a question or messages"],
    ["choice", { question: "q", choices: ["a"], answer: 0 }, "choices: expected at least two choices"],
    ["choice", { question: "q", choices: ["a", ""], answer: 0 }, "choices[1]: expected a text"],
    [
      "choice",
      { question: "q", choices: ["a", "b"], answer: 2 },
      "answer: expected one of the choices or an index of 0 to 1",
    ],
    ["choice", { question: "q", choices: ["a", "b"], answer: "c" }, "answer: expected one of the choices"],
    ["choice", { question: "q", choices: "ab", answer: 0 }, "choices: expected an array of strings"],
    ["qa", { question: "q" }, "answer: expected a string, got nothing"],
    ["qa", { question: "q", answers: [] }, "answers: expected at least one accepted answer"],
    ["qa", { question: "q", answer: 3 }, "answer: expected a string"],
    ["qa", { question: "q", answer: "a", unanswerable: "yes" }, "unanswerable: expected true or false"],
    [
      "qa",
      { messages: [{ role: "bot", content: "x" }], answer: "a" },
      "messages[0].role: expected system, user or assistant",
    ],
    ["qa", { question: "word ".repeat(400), answer: "a" }, "question: expected at most 128 tokens, the context length"],
    [
      "choice",
      { question: "q", choices: ["word ".repeat(300), "b"], answer: 1 },
      "question: expected at most 128 tokens",
    ],
  ])("reject an invalid row with its line: %s %j", async (task, row, message) => {
    const path = join(folder, "rows.jsonl");
    const good = { question: "q", choices: ["a", "b"], answer: "a" };
    await writeFile(path, `${JSON.stringify(good)}\n\n${JSON.stringify(row)}\n`);
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    const run = () => (task === "choice" ? multipleChoice(model, path) : questionAnswering(model, path));
    const failure = await failureOf(run);
    expect(failure.message).toContain(`${path}:3: ${message}`);
    expect(failure.code).toBe("INVALID_FILE");
  });

  test("end an answer when the context is full, if its question nearly fills the context", async () => {
    const tokenizer = await tinyTokenizer();
    await using model = tinyModel({ tokenizer });
    const tokens = (text: string) => tokenizer.encode(text, { allowSpecial: true }).length;
    const texts = Array.from({ length: 128 }, (_, i) => "q".repeat(i + 1));
    const fitting = texts.find((text) => tokens(text) > 128 - 40 && tokens(text) < 128)!;
    expect(fitting).toBeDefined(); // it leaves room for fewer than 48 tokens, the default maximum of an answer
    const { answers } = await questionAnswering(model, [{ prompt: fitting, answer: "x" }], { stop: [] });
    const room = 128 - tokens(fitting) + 1; // the last token of an answer is not fed back
    const filling = await model.complete(fitting, { maxTokens: room, temperature: 0 });
    expect(filling.finishReason).toBe("length");
    expect(answers.map(({ text }) => text)).toEqual([filling.text.trim()]);
  });

  test("reject invalid options and models", async () => {
    await using model = tinyModel({ tokenizer: await tinyTokenizer() });
    await using bare = tinyModel();
    const rows = [{ question: "q", choices: ["a", "b"], answer: "a" }];
    await expectError(
      () => multipleChoice(bare, rows),
      "INVALID_ARGUMENT",
      /a model with a tokenizer, got one without/,
    );
    await expectError(
      () => multipleChoice(model, rows, { normalisation: "bytes" } as never),
      "INVALID_ARGUMENT",
      /normalization/,
    );
    await expectError(
      () => multipleChoice(model, rows, { normalization: "x" as never }),
      "INVALID_ARGUMENT",
      /none, tokens, characters or bytes/,
    );
    await expectError(() => questionAnswering(model, [], {}), "INVALID_ARGUMENT", /at least one question/);
    await expectError(() => questionAnswering(model, join(folder, "none.jsonl")), "NOT_FOUND", /none\.jsonl/);
    const controller = new AbortController();
    controller.abort();
    await expectError(() => multipleChoice(model, rows, { signal: controller.signal }), "ABORTED", /./);
  });
});
