// `heddle classify`, `embed` and `eval`, run as the built command in a separate process.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { command as evalCommand } from "../../lib/cli/commands/eval.ts";
import { Output } from "../../lib/cli/terminal/output.ts";
import { LanguageModel, multipleChoice } from "../../lib/index.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";

const bin = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
let folder: string;
const at = (name: string) => join(folder, name);

/**
 * Number of decimal digits to which f32 values of at most 1 agree if their sums are computed in another order, as in a batch. A value results
 * from 20 sums in sequence, of up to 64 terms. Their rounding error is about √(20 · 64) · 2⁻²⁴, or 2·10⁻⁶. Five digits allow 5·10⁻⁶.
 */
const DIGITS = 5;

/** Files of questions for `eval`. */
const questions = {
  "choice.jsonl": [
    { question: "What did the cat see?", choices: ["a house", "the sea", "I do not know"], answer: 1 },
    { question: "What did the xyz see?", choices: ["a house", "the sea", "I do not know"], unanswerable: true },
  ],
  "qa.jsonl": [
    { question: "The cat?", answer: "home" },
    { question: "The xyz?", unanswerable: true },
  ],
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-cli-heads-"));
  const tokenizer = await tinyTokenizer();
  await using base = tinyModel({ tokenizer });
  await base.save(at("base"));
  await using texts = tinyModel({ tokenizer });
  await texts.model.addClassifier({ task: "sequence", labels: ["bad", "good"] }, { seed: 1 });
  await texts.save(at("texts"));
  await using words = tinyModel({ tokenizer });
  await words.model.addClassifier({ task: "token", labels: ["O", "THING"] }, { seed: 1 });
  await words.save(at("words"));
  await using topics = tinyModel({ tokenizer });
  const problemType = "multi_label_classification";
  // With this seed, the first text of a test gets both labels, the second gets none, and the third gets one.
  await topics.model.addClassifier({ task: "sequence", labels: ["sea", "land"], problemType }, { seed: 2 });
  await topics.save(at("topics"));
  await using both = tinyModel({ tokenizer }, { modelType: "gemma3_text", useBidirectionalAttention: true });
  await both.save(at("both"));
  for (const [name, rows] of Object.entries(questions))
    await writeFile(at(name), rows.map((row) => JSON.stringify(row)).join("\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function heddle(args: readonly string[], stdin = ""): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [bin, ...args], { cwd: folder });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

// biome-ignore lint/suspicious/noExplicitAny: the tests say what the fields are
async function json(args: readonly string[], stdin = ""): Promise<any[]> {
  const { code, stdout, stderr } = await heddle([...args, "--json"], stdin);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

async function refused(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await heddle([...args, "--json"]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toMatch(/^heddle: [^\n]+\n$/);
  return stderr;
}

test("a bidirectional decoder embeds, and reports that it cannot generate", async () => {
  const [{ embedding }] = await json(["embed", "The cat", "--model", "both"]);
  expect(embedding).toHaveLength(32);
  for (const command of ["generate", "logits"])
    expect(await refused([command, "The cat", "--model", "both"])).toContain(
      "model: expected a model that generates, got gemma3_text with bidirectional attention (useBidirectionalAttention)",
    );
});

describe("classify", () => {
  test("accepts a text, stdin and a file", async () => {
    const [answer, ...rest] = await json(["classify", "The cat saw the sea", "--model", "texts"]);
    expect(rest).toEqual([]);
    expect(Object.keys(answer)).toEqual(["label", "probabilities"]);
    expect(answer.probabilities.bad + answer.probabilities.good).toBeCloseTo(1, DIGITS);
    expect(answer.probabilities[answer.label]).toBeGreaterThanOrEqual(0.5);
    expect(await json(["classify", "-", "--model", "texts"], "The cat saw the sea")).toEqual([answer]);
    const rows = Array.from({ length: 70 }, (_, i) => ({ text: i ? `The dog ${i}` : "The cat saw the sea" }));
    await writeFile(at("rows.jsonl"), rows.map((r) => JSON.stringify(r)).join("\n"));
    const all = await json(["classify", "--file", "rows.jsonl", "--model", "texts"]);
    expect(all).toHaveLength(70);
    expect(all[0].label).toBe(answer.label);
    expect(all[0].probabilities.bad).toBeCloseTo(answer.probabilities.bad, DIGITS);
    const { stdout } = await heddle(["classify", "The cat saw the sea", "--model", "texts"]);
    expect(stdout).toMatch(/^(bad|good) +0\.\d{4} +█+\n(bad|good) +0\.\d{4}/);
  });

  test("prints every label that applies with its probability, or `none` and the most probable label", async () => {
    const texts = ["bird", "a dog", "The cat saw the sea"];
    await writeFile(at("topics.jsonl"), texts.map((text) => JSON.stringify({ text })).join("\n"));
    await using model = await LanguageModel.load(at("topics"));
    const [both, none, one] = await model.classify(texts);
    expect([both!.labels, none!.labels, one!.labels]).toEqual([["sea", "land"], [], ["land"]]);
    const p = (answer: typeof both, label: string) => answer!.probabilities[label]!.toFixed(4);
    const { stdout } = await heddle(["classify", "--file", "topics.jsonl", "--model", "topics"]);
    expect(stdout.split("\n")).toEqual([
      `sea, land\t${p(both, "sea")}, ${p(both, "land")}`,
      `none (sea)\t${p(none, "sea")}`,
      `land\t${p(one, "land")}`,
      "",
    ]);
  });

  test("labels the words of a text with a token classifier", async () => {
    const [{ tokens }] = await json(["classify", "The cat ran home", "--model", "words"]);
    expect(tokens.map((t: { text: string }) => t.text)).toEqual(["The", "cat", "ran", "home"]);
    expect(tokens[1]).toMatchObject({ start: 4, end: 7, label: expect.stringMatching(/^(O|THING)$/) });
    await writeFile(at("words.jsonl"), JSON.stringify({ tokens: ["The", "cat"] }));
    expect((await json(["classify", "--file", "words.jsonl", "--model", "words"]))[0].tokens).toHaveLength(2);
  });

  test("rejects invalid models, texts and options", async () => {
    expect(await refused(["classify", "x", "--model", "base"])).toContain(
      "expected a classification head, got a llama",
    );
    expect(await refused(["classify", "--model", "texts"])).toContain("expected a text");
    expect(await refused(["classify", "x", "--file", "rows.jsonl", "--model", "texts"])).toContain("got both");
    await writeFile(at("bad.jsonl"), '{"text":"a"}\n{"txt":"b"}\n');
    expect(await refused(["classify", "--file", "bad.jsonl", "--model", "texts"])).toContain(
      "bad.jsonl:2: text: expected",
    );
    expect(await refused(["classify", "word ".repeat(500), "--model", "texts"])).toMatch(
      /at most 128 tokens, the context length, got \d+ \(--truncation cuts it\)\n$/,
    );
    expect(await refused(["classify", "x", "--truncation", "--model", "words"])).toContain(
      "--truncation: expected a text classifier, got a token classifier",
    );
  });
});

test("reports the file and line of an invalid text", async () => {
  const rows = (name: string, ...lines: object[]) => {
    // Line numbers include blank lines. The 70 blank lines are more than the 64 rows that one call of the model gets.
    const blank = 70;
    return writeFile(at(name), [...Array(blank).fill(""), ...lines.map((line) => JSON.stringify(line))].join("\n"));
  };
  const long = "The cat saw the sea. ".repeat(60);
  const many = Array.from({ length: 65 }, () => ({ text: "a" }));
  const said = (command: string, file: string, model: string) => refused([command, "--file", file, "--model", model]);
  await rows("far.jsonl", { text: "a" }, { text: long });
  for (const [command, model] of [["embed", "base"] as const, ["classify", "texts"] as const])
    expect(await said(command, "far.jsonl", model)).toMatch(
      /^heddle: far\.jsonl:72: text: expected at most 128 tokens, the context length, got \d+ \(--truncation cuts it\)\n$/,
    );
  await rows("alone.jsonl", { text: long });
  expect(await said("embed", "alone.jsonl", "base")).toContain("alone.jsonl:71: text: expected at most 128 tokens");
  await rows("words-far.jsonl", { text: "a" }, { tokens: long.split(" ") });
  expect(await said("embed", "words-far.jsonl", "base")).toContain("words-far.jsonl:72: tokens: expected at most 128");
  const { stdout, stderr } = await heddle(["classify", "--file", "words-far.jsonl", "--model", "words", "--json"]);
  expect(stdout.split("\n")).toHaveLength(2); // the first row's result, and the empty text after its line break
  expect(stderr).toContain("words-far.jsonl:72: tokens: expected at most 128 tokens");
  expect(await said("classify", "words-far.jsonl", "texts")).toContain(
    "words-far.jsonl:72: text: expected a string for this classifier, got nothing beside the field tokens",
  );
  await rows("batches.jsonl", ...many, { text: long });
  const second = await heddle(["embed", "--file", "batches.jsonl", "--model", "base", "--json"]);
  expect(second.stdout.trimEnd().split("\n")).toHaveLength(64);
  expect(second.stderr).toContain("batches.jsonl:136: text: expected at most 128 tokens");
});

test("--truncation cuts long texts as the API does", async () => {
  const long = "The cat saw the sea. ".repeat(60);
  await using model = await LanguageModel.load(at("texts"));
  const close = (got: ArrayLike<number>, expected: ArrayLike<number>) => {
    expect(got).toHaveLength(expected.length);
    for (const [i, value] of Array.from(got).entries()) expect(value).toBeCloseTo(expected[i]!, DIGITS);
  };
  const [{ embedding }] = await json(["embed", long, "--truncation", "--model", "texts"]);
  close(embedding, await model.embed(long, { truncation: true }));
  await writeFile(at("long.jsonl"), `${JSON.stringify({ text: "a" })}\n${JSON.stringify({ text: long })}\n`);
  const answers = await json(["classify", "--file", "long.jsonl", "--truncation", "--model", "texts"]);
  const expected = await model.classify(["a", long], { truncation: true });
  for (const [i, { probabilities }] of answers.entries())
    close(Object.values(probabilities), Object.values(expected[i]!.probabilities));
  const refusal = await refused(["embed", long, "--model", "texts"]);
  expect(refusal).toContain("at most 128 tokens");
  expect(refusal).toContain("(--truncation cuts it)");
});

describe("embed", () => {
  test("prints a vector of norm 1, and accepts a file and a pooling mode", async () => {
    const [{ embedding }] = await json(["embed", "The cat saw the sea", "--model", "base"]);
    expect(embedding).toHaveLength(32);
    expect(embedding.reduce((n: number, v: number) => n + v * v, 0)).toBeCloseTo(1, DIGITS);
    const [last] = await json(["embed", "The cat saw the sea", "--model", "base", "--pooling", "last"]);
    expect(last.embedding).not.toEqual(embedding);
    await writeFile(at("texts.jsonl"), '{"text":"a dog"}\n{"text":"The cat saw the sea"}\n');
    const [, second] = await json(["embed", "--file", "texts.jsonl", "--model", "base"]);
    for (const [i, v] of second.embedding.entries()) expect(v).toBeCloseTo(embedding[i], DIGITS);
    expect(await refused(["embed", "x", "--pooling", "sum", "--model", "base"])).toContain(
      '--pooling: expected first, max, mean, mean_sqrt_len, weighted_mean, last, got "sum"',
    );
    const [several] = await json(["embed", "x", "--pooling", "first,mean", "--truncate-dim", "40", "--model", "base"]);
    expect(several.embedding).toHaveLength(40);
  });

  test("accepts the name of a prompt, or its text", async () => {
    await using model = await LanguageModel.load(at("base"));
    const prompts = { query: "query: ", passage: "" };
    model.model.setEmbedding({ pooling: "mean", normalize: true, prompts });
    await model.save(at("prompted"));
    const of = async (...args: string[]) => (await json(["embed", ...args, "--model", "prompted"]))[0].embedding;
    expect(await of("The cat", "--prompt-name", "query")).toEqual(await of("query: The cat"));
    expect(await of("The cat", "--prompt", "query: ")).toEqual(await of("query: The cat"));
    expect(await of("The cat", "--prompt-name", "passage")).toEqual(await of("The cat"));
    expect(await refused(["embed", "x", "--prompt-name", "quer", "--model", "prompted"])).toContain(
      '--prompt-name: expected one of query, passage (nearest: query), got "quer"',
    );
    expect(await refused(["embed", "x", "--prompt-name", "query", "--prompt", "a", "--model", "prompted"])).toContain(
      "--prompt: cannot be combined with --prompt-name",
    );
  });
});

describe("train classify and train embed", () => {
  test("accept a configuration file, and the result works in classify and embed", async () => {
    const texts = Array.from({ length: 24 }, (_, i) => ({
      text: `The ${i % 2 ? "cat" : "dog"} saw ${["a house", "the sea", "café"][i % 3]}`,
      label: i % 2 ? "cat" : "dog",
    }));
    await writeFile(at("labeled.jsonl"), texts.map((r) => JSON.stringify(r)).join("\n"));
    const shared = {
      model: "base",
      max_steps: 12,
      per_device_train_batch_size: 8,
      learning_rate: 5e-3,
      eval_fraction: 0.25,
    };
    await writeFile(
      at("classify.json"),
      JSON.stringify({ ...shared, data: ["labeled.jsonl"], output_dir: "classifier" }),
    );
    const events = await json(["train", "classify", "--config", "classify.json"]);
    expect(events.filter((e) => "loss" in e)).toHaveLength(12);
    const last = events.at(-1);
    expect(last).toMatchObject({ done: true, steps: 12, path: "classifier" });
    expect(Object.keys(last.evalMetrics)).toEqual(
      expect.arrayContaining(["accuracy", "macroF1", "ece", "temperature", "calibratedEce"]),
    );
    const [answer] = await json(["classify", "The cat saw the sea", "--model", "classifier"]);
    expect(Object.keys(answer.probabilities)).toEqual(["cat", "dog"]);
    const [info] = await json(["info", "--model", "classifier"]);
    expect(info).toMatchObject({
      architecture: "LlamaForSequenceClassification",
      classifier: { task: "sequence", labels: ["cat", "dog"] },
      modelCard: { stage: "classify" },
    });

    const pairs = texts.map((r) => ({ anchor: r.text, positive: `${r.text} and ran home` }));
    await writeFile(at("pairs.jsonl"), pairs.map((r) => JSON.stringify(r)).join("\n"));
    await writeFile(
      at("embed.json"),
      JSON.stringify({ ...shared, data: "pairs.jsonl", pooling: "last", output_dir: "embedder" }),
    );
    const embedded = await json(["train", "embed", "--config", "embed.json"]);
    expect(embedded.at(-1)).toMatchObject({ done: true, evalMetrics: { recallAt1: expect.any(Number) } });
    const [{ embedding }] = await json(["embed", "The cat", "--model", "embedder"]);
    expect(embedding).toHaveLength(32);
    const [same] = await json(["embed", "The cat", "--model", "embedder", "--pooling", "last"]);
    expect(same.embedding).toEqual(embedding);
    await writeFile(at("one.jsonl"), '{"text":"a","label":"x"}\n');
    await writeFile(at("one.json"), JSON.stringify({ ...shared, data: "one.jsonl", output_dir: "one" }));
    expect(await refused(["train", "classify", "--config", "one.json"])).toContain("expected at least two labels");
  });
});

describe("eval", () => {
  test("choice reports accuracy, calibration and answers", async () => {
    const rows = questions["choice.jsonl"];
    const [result, ...rest] = await json([
      "eval",
      "--task",
      "choice",
      "--file",
      "choice.jsonl",
      "--model",
      "base",
      "--answers",
      "out.jsonl",
    ]);
    expect(rest).toEqual([]);
    expect(result).toMatchObject({ count: 2, abstention: { answerable: 1, unanswerable: 1 } });
    expect(result.calibration.bins).toHaveLength(15);
    await using model = await LanguageModel.load(at("base"));
    const { answers: expected, ...figures } = await multipleChoice(model, at("choice.jsonl"));
    expect(result).toEqual(JSON.parse(JSON.stringify(figures)));
    const answers = (await readFile(at("out.jsonl"), "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers[1]).toMatchObject({ where: "choice.jsonl:2", unanswerable: true, correct: false });
    expect(answers.map(({ where, ...answer }) => answer)).toEqual(expected.map(({ where, ...answer }) => answer));
    // The accuracy is 1 if the model's choice is the right answer, and 0 if another one is.
    const opposite = rows.map((row) => ("answer" in row ? { ...row, answer: (answers[0].choice + 1) % 3 } : row));
    const right = rows.map((row) => ("answer" in row ? { ...row, answer: answers[0].choice } : row));
    for (const [file, accuracy] of [
      [opposite, 0],
      [right, 1],
    ] as const) {
      await writeFile(at("one.jsonl"), file.map((r) => JSON.stringify(r)).join("\n"));
      const [{ accuracy: found }] = await json(["eval", "--task", "choice", "--file", "one.jsonl", "--model", "base"]);
      expect(found).toBe(accuracy);
    }
    const args = ["eval", "--task", "choice", "--file", "choice.jsonl", "--model"];
    expect((await heddle([...args, "base"])).stdout).toContain("of 1 unanswerable questions");
    // An output path that cannot be written is rejected before the model is loaded.
    const { code, stderr } = await heddle([...args, "no-model", "--answers", join("no-folder", "out.jsonl")]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^heddle: no-folder.out\.jsonl: cannot be written: no such file or folder\n$/);
  });

  test("qa reports accuracy and abstention", async () => {
    const [result] = await json([
      "eval",
      "--task",
      "qa",
      "--file",
      "qa.jsonl",
      "--model",
      "base",
      "--max-tokens",
      "4",
      "--decline",
      ".",
    ]);
    // Every answer with at least one character declines.
    expect(result).toMatchObject({ accuracy: 0, f1: 0, abstention: { declined: 1, wronglyDeclined: 1, invented: 0 } });
  });

  test("ends its progress line before the result", async () => {
    await writeFile(at("corpus.txt"), "The cat saw the sea. A dog ran home.");
    const written: string[] = [];
    const record = (text: string | Uint8Array) => written.push(String(text)) > 0;
    const spies = [process.stderr, process.stdout].map((stream) =>
      vi.spyOn(stream, "write").mockImplementation(record),
    );
    const wasTTY = process.stderr.isTTY;
    process.stderr.isTTY = true;
    try {
      for (const options of [{ file: at("choice.jsonl"), task: "choice" }, { file: at("corpus.txt") }]) {
        written.length = 0;
        await evalCommand.run({ options: { ...options, model: at("base") }, positionals: [], out: new Output(false) });
        const result = written.findIndex((text) => /^(questions|perplexity) /.test(text));
        expect(written.slice(0, result).join("")).toMatch(/\d+ (questions|tokens)\n$/);
      }
    } finally {
      process.stderr.isTTY = wasTTY;
      for (const spy of spies) spy.mockRestore();
    }
  });

  test("rejects options of another task", async () => {
    const said = (...args: string[]) => refused(["eval", "--file", "qa.jsonl", "--model", "base", ...args]);
    expect(await said("--answers", "out.jsonl")).toContain("--answers: expected --task choice or qa, got perplexity");
    expect(await said("--task", "choice", "--match", "exact")).toContain("--match: expected --task qa, got choice");
    expect(await said("--decline", "no")).toContain("--decline: expected --task choice or qa, got perplexity");
    expect(await said("--task", "qa", "--stride", "4")).toContain("--stride: expected --task perplexity, got qa");
  });

  test("rejects invalid tasks, files and options", async () => {
    expect(await refused(["eval", "--task", "quiz", "--file", "qa.jsonl"])).toContain(
      "--task: expected perplexity, choice or qa",
    );
    expect(await refused(["eval", "--task", "qa"])).toContain("--file: expected a file, got none");
    expect(
      await refused(["eval", "--task", "qa", "--file", "qa.jsonl", "--decline", "(", "--model", "base"]),
    ).toContain("--decline: expected a regular expression");
    expect(await refused(["eval", "--task", "choice", "--file", "qa.jsonl", "--model", "base"])).toContain(
      "qa.jsonl:1: choices: expected",
    );
    expect(
      await refused(["eval", "--task", "choice", "--file", "choice.jsonl", "--normalization", "x", "--model", "base"]),
    ).toContain("--normalization: expected none, tokens, characters or bytes");
  });
});
