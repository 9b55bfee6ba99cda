// The JSON fields of every command, as listed in docs/command-line.md.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { folder, heddle, model } from "./tiny.ts";

const rows: Record<string, object[]> = {
  "choice.jsonl": [{ question: "The cat?", choices: ["dog", "bird"], answer: "dog" }],
  "qa.jsonl": [{ question: "The cat?", answer: "dog" }],
  "labelled.jsonl": ["a", "b"].map((label) => ({ text: `The ${label}`, label })),
};
beforeAll(async () => {
  for (const [name, list] of Object.entries(rows))
    await writeFile(join(folder, name), list.map((row) => JSON.stringify(row)).join("\n"));
  const config = { model, data: "labelled.jsonl", evalData: "labelled.jsonl", maxSteps: 1, outputDir: "classifier" };
  await writeFile(join(folder, "train.json"), JSON.stringify(config));
});

const completion = "text tokens logprobs promptTokens cachedTokens completionTokens finishReason timings";
const machine = "version devices cudaDevices driver instructionSets build";
const described = "path format architecture parameters bytes context dtypes tokenizer";
const questions = "accuracy ece abstention count calibration";

/** For each command the fields of its objects, line by line. */
const fields: [args: string, ...lines: string[]][] = [
  ["generate The --max-tokens 2", completion],
  ["generate The --max-tokens 2 --logprobs 1", `${completion} top entropies`],
  ["generate The --max-tokens 2 --prompt-logprobs 1", `${completion} promptLogprobs promptTop`],
  ["generate The --max-tokens 2 --num-beams 2", `${completion} score`],
  ["generate The --max-tokens 2 --prompt-lookup-num-tokens 2", `${completion} draftedTokens acceptedTokens`],
  ["logits --token-ids 1,2", "logits"],
  ["tokenize The", "ids tokens count"],
  ["embed The", "embedding"],
  ["eval --file corpus.txt", "nll perplexity tokens bitsPerByte"],
  ["eval --file choice.jsonl --task choice", questions],
  ["eval --file qa.jsonl --task qa --max-tokens 2", `${questions} f1`],
  [
    "train classify --config train.json",
    "step maxSteps loss learningRate gradNorm tokensPerSecond tokensSeen skippedSteps metrics",
    "step maxSteps evalLoss tokens metrics",
    "done steps tokensSeen skippedSteps evalLoss evalMetrics seconds path",
  ],
  ["classify The --model classifier", "label probabilities"],
  ["convert MODEL out.gguf", "tensors bytes"],
  ["tokenizer train corpus.txt --vocab-size 300 --out trained", "vocabSize out seconds"],
  ["tokenize --file corpus.txt --to-shards shards", "path tokens documents bytes"],
  ["info", machine],
  ["info --model MODEL", `${machine} ${described} config modelCard`],
  ["info --model classifier", `${machine} ${described} classifier config modelCard`],
  ["bench rows --quick --rounds 1 --threads 1", "machine results"],
];

test.each(fields)("heddle %s prints the documented fields", async (...[args, ...lines]) => {
  const given = args.replace("MODEL", model).split(" ");
  const own = /^(train|tokenizer|classify|convert|info|bench)/.test(args) ? [] : ["--model", model];
  const { code, stdout, stderr } = await heddle([...given, ...own, "--json"]);
  expect({ code, stderr: args.startsWith("bench") ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  const objects = stdout
    .trimEnd()
    .split("\n")
    .map((line) => Object.keys(JSON.parse(line)));
  expect(objects.map((keys) => keys.sort())).toEqual(lines.map((names) => names.split(" ").sort()));
});

test("docs/command-line.md names every field", async () => {
  const guide = await readFile(fileURLToPath(new URL("../../docs/command-line.md", import.meta.url)), "utf8");
  const named = guide.slice(guide.indexOf("## Fields of"));
  const names = new Set(fields.flatMap(([, ...lines]) => lines.flatMap((line) => line.split(" "))));
  expect([...names].filter((name) => !new RegExp(`\\b${name}\\b`).test(named))).toEqual([]);
});

test("heddle lifecycle prints the documented fields in its progress lines and in the last line", async () => {
  const { stdout } = await heddle(["lifecycle", "--quick", "--out", "life", "--json"]);
  const objects = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const own: Record<string, string[]> = {
    stage: ["maxSteps"],
    step: ["step", "maxSteps", "loss", "tokensPerSecond"],
    evaluation: [],
    done: ["result"],
  };
  const { stages, missed, report, ...rest } = objects.pop();
  expect([typeof report, rest]).toEqual(["string", {}]);
  expect(missed).toContain("answers 0 % of the questions exactly"); // one step per stage teaches nothing
  for (const stage of stages) expect(Object.keys(stage)).toEqual(["name", "steps", "seconds", "tokens", "metrics"]);
  for (const { type, stage, secondsLeft, ...more } of objects)
    expect([typeof stage, Object.keys(more)]).toEqual(["string", own[type]]);
  expect(new Set(objects.map(({ type }) => type))).toEqual(new Set(Object.keys(own)));
});

test("heddle chat prints the fields of generate and the raw text", async () => {
  const args = ["chat", "--model", model, "--max-tokens", "2", "--json"];
  for (const [more, names] of [
    [[], `${completion} rawText`],
    [["--prompt-lookup-num-tokens", "2"], `${completion} rawText draftedTokens acceptedTokens`],
  ] as const) {
    const { stdout } = await heddle([...args, ...more], "The cat\n");
    expect(Object.keys(JSON.parse(stdout)).sort()).toEqual(names.split(" ").sort());
  }
});
