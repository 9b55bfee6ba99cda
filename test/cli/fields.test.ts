// The JSON fields of most commands, as listed in docs/command-line.md.
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { folder, heddle, model } from "./tiny.ts";

const rows: Record<string, object[]> = {
  "choice.jsonl": [{ question: "The cat?", choices: ["dog", "bird"], answer: "dog" }],
  "qa.jsonl": [{ question: "The cat?", answer: "dog" }],
  "labeled.jsonl": ["a", "b"].map((label) => ({ text: `The ${label}`, label })),
};
beforeAll(async () => {
  for (const [name, list] of Object.entries(rows))
    await writeFile(join(folder, name), list.map((row) => JSON.stringify(row)).join("\n"));
  const config = { model, data: "labeled.jsonl", evalData: "labeled.jsonl", maxSteps: 1, outputDir: "classifier" };
  await writeFile(join(folder, "train.json"), JSON.stringify(config));
});

const completion = "text tokens logprobs promptTokens cachedTokens completionTokens finishReason timings";
const machine = "version devices cudaDevices driver instructionSets build";
const described = "path format architecture parameters bytes context dtypes tokenizer";
const questions = "accuracy ece abstention count calibration";

/** Arguments of a command, and the fields of the JSON object on each line that it prints. A test compares them with the guide. */
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

const guide = readFileSync(fileURLToPath(new URL("../../docs/command-line.md", import.meta.url)), "utf8");
const table = guide.slice(guide.indexOf("## Fields of")).split("\n");
const spansOf = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, span]) => span!);
/** Removes objects, such as `: {a, b}`, from a text. */
function withoutObjects(text: string): string {
  const shorter = text.replace(/\{[^{}]*\}/g, "");
  return shorter === text ? text : withoutObjects(shorter);
}

/** Returns the fields in a command's row of docs/command-line.md. `nested`: with the fields of objects inside fields. */
function documented(command: string, { nested = false } = {}): Set<string> {
  const rows = table.map((line) => line.split("|")).filter(([, commands = ""]) => spansOf(commands).includes(command));
  expect(rows, command).toHaveLength(1);
  const spans = spansOf(rows[0]![2]!).filter((span) => !span.startsWith("--")); // options are not fields
  return new Set(spans.flatMap((span) => (nested ? span : withoutObjects(span)).match(/[A-Za-z]\w*/g) ?? []));
}

/** Returns the name of a command in docs/command-line.md. */
function commandOf(args: string): string {
  const words = args.split(" ");
  const longer = ["tokenize --to-shards", "tokenizer train", "info --model"];
  return longer.find((name) => name.split(" ").every((word) => words.includes(word))) ?? words[0]!;
}

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

test.each(fields)("docs/command-line.md names the fields of heddle %s in the command's row", (args, ...lines) => {
  const command = commandOf(args);
  const named = documented(command);
  // The row of `info --model` lists only the fields that the row of `info` lacks.
  if (command === "info --model") for (const name of documented("info")) named.add(name);
  expect(lines.flatMap((line) => line.split(" ")).filter((name) => !named.has(name))).toEqual([]);
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
  const named = documented("lifecycle", { nested: true });
  const names = [...objects, ...stages, { stages, missed, report }].flatMap((printed) => Object.keys(printed));
  expect([...names, ...Object.keys(own)].filter((name) => !named.has(name))).toEqual([]);
});

test("heddle chat prints the fields of generate and the raw text", async () => {
  const args = ["chat", "--model", model, "--max-tokens", "2", "--json"];
  for (const [more, names] of [
    [[], `${completion} rawText`],
    [["--prompt-lookup-num-tokens", "2"], `${completion} rawText draftedTokens acceptedTokens`],
  ] as const) {
    const { stdout } = await heddle([...args, ...more], "The cat\n");
    expect(Object.keys(JSON.parse(stdout)).sort()).toEqual(names.split(" ").sort());
    const named = documented("chat");
    expect(names.split(" ").filter((name) => !named.has(name))).toEqual([]);
  }
});
