// Invalid rows of training files: one line names the file, line and field, the expected value, and the option that may be at fault.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folder, heddle, model, refused } from "../tiny.ts";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const long = "The cat saw the sea and ran home. ".repeat(40);

const good: Record<string, object[]> = {
  sft: [{ messages: [user("a"), assistant("b")] }],
  dpo: [{ prompt: "a", chosen: "b", rejected: "c" }],
  kto: [
    { prompt: "a", completion: "b", label: true },
    { prompt: "c", completion: "d", label: false },
  ],
  classify: [
    { text: "a", label: "x" },
    { text: "b", label: "y" },
  ],
  embed: [
    { anchor: "a", positive: "b" },
    { anchor: "c", positive: "d" },
  ],
};

/** Each case has a description, the stage, the row, the message after `rows.jsonl:N: `, and further options. */
const cases: [what: string, stage: string, row: object, message: string, options?: object][] = [
  [
    "unknown fields",
    "sft",
    { instruction: "a", output: "b" },
    "row: expected messages, prompt and completion, or text, got the fields instruction, output",
  ],
  ["an empty object", "sft", {}, "row: expected messages, prompt and completion, or text, got an empty object"],
  ["null", "sft", { messages: null }, "messages: expected an array of messages, got null"],
  ["an empty list", "sft", { messages: [] }, "messages: expected at least one message, got an empty array"],
  [
    "a misspelt role",
    "sft",
    { messages: [{ role: "asistant", content: "a" }] },
    'messages[0].role: expected assistant, got "asistant"',
  ],
  [
    "no assistant message",
    "sft",
    { messages: [user("a")] },
    "messages: expected at least one assistant message (assistantOnlyLoss: false trains on all messages), got user",
  ],
  [
    "tools that are not an array",
    "sft",
    { messages: [user("a"), assistant("b")], tools: "x" },
    'tools: expected an array, got "x"',
  ],
  [
    "a missing completion",
    "sft",
    { prompt: "a" },
    "completion: expected a text, or an array of messages, got nothing beside the field prompt",
  ],
  [
    "a row that the given chat template rejects",
    "sft",
    good.sft![0]!,
    "messages: expected a conversation that chatTemplate accepts, got an error: chat template: no",
    { chatTemplate: "{{ raise_exception('no') }}" },
  ],
  [
    "a misnamed field",
    "dpo",
    { prompt: "a", chosen: "b", reject: "c" },
    "rejected: expected a text, like the prompt, got nothing beside the fields prompt, chosen, reject",
  ],
  [
    "a number instead of a text",
    "dpo",
    { prompt: "a", chosen: 5, rejected: "c" },
    "chosen: expected a text, like the prompt, got 5",
  ],
  [
    "an answer with the role user",
    "dpo",
    { prompt: [user("a")], chosen: [user("b")], rejected: [assistant("c")] },
    "chosen: expected an assistant message, got user",
  ],
  [
    "a row that is too long",
    "dpo",
    { prompt: "a", chosen: long, rejected: "c" },
    'row: expected at most 64 tokens of prompt and answer (maxSeqLength; truncationMode "drop" or "keep_end" avoids this), got ',
  ],
  [
    "a label that is a string",
    "kto",
    { prompt: "a", completion: "b", label: "true" },
    'label: expected true or false, got "true"',
  ],
  [
    "a completion without an assistant message",
    "kto",
    { prompt: [user("a")], completion: [user("b")], label: true },
    "completion: expected an assistant message, got user",
  ],
  [
    "a missing label",
    "classify",
    { text: "a", class: "x" },
    "label: expected a label (a string, an integer or a boolean), got nothing beside the fields text, class",
  ],
  [
    "an unknown label",
    "classify",
    { text: "a", label: "z" },
    'label: expected one of x, y (labels), got "z"',
    { labels: ["x", "y"] },
  ],
  [
    "a text that is too long",
    "classify",
    { text: long, label: "x" },
    "text: expected at most 64 tokens (maxSeqLength; truncation: true keeps the first ones), got ",
  ],
  [
    "a missing anchor",
    "embed",
    { query: "a", positive: "b" },
    "anchor: expected a string, got nothing beside the fields query, positive",
  ],
];

test.each(cases)("reports %s (%s)", async (_, stage, row, message, options = {}) => {
  const rows = [...good[stage]!, row];
  await writeFile(join(folder, "rows.jsonl"), rows.map((one) => JSON.stringify(one)).join("\n"));
  const config = { model, data: "rows.jsonl", maxSteps: 1, perDeviceTrainBatchSize: 2, maxSeqLength: 64, ...options };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const line = "chatTemplate" in options ? 1 : rows.length;
  expect(await refused(["train", stage, "--config", "config.json"])).toContain(
    `heddle: rows.jsonl:${line}: ${message}`,
  );
});

test("an unknown template name is reported as an invalid chatTemplate option", async () => {
  for (const stage of ["sft", "dpo"]) {
    const row = stage === "sft" ? good.sft![0]! : { prompt: [user("a")], chosen: "b", rejected: "c" };
    await writeFile(join(folder, "rows.jsonl"), JSON.stringify(row));
    await writeFile(join(folder, "config.json"), JSON.stringify({ model, data: "rows.jsonl", chatTemplate: "tidy" }));
    expect(await refused(["train", stage, "--config", "config.json"])).toBe(
      'heddle: chatTemplate: expected a template, or the name of one that the tokenizer has, got "tidy"\n',
    );
  }
});

test("every command that reads rows reports the file and line of invalid UTF-8", async () => {
  const bad = Buffer.concat([Buffer.from('{"text": "a"}\n{"text": "b'), Buffer.from([0xff]), Buffer.from('"}\n')]);
  await writeFile(join(folder, "bytes.jsonl"), bad);
  await writeFile(
    join(folder, "strings.jsonl"),
    Buffer.concat([Buffer.from('"a"\n"'), Buffer.from([0xff]), Buffer.from('"\n')]),
  );
  const options = { model, data: "bytes.jsonl", maxSteps: 1, maxSeqLength: 64 };
  await writeFile(join(folder, "config.json"), JSON.stringify(options));
  const says = (file: string) => expect.stringContaining(`${file}:2: expected UTF-8, got invalid bytes`);
  for (const args of [
    ["train", "pretrain", "--config", "config.json"],
    ["train", "sft", "--config", "config.json"],
    ["tokenizer", "train", "bytes.jsonl", "--vocab-size", "300", "--out", "vocabulary"],
    ["tokenize", "--file", "bytes.jsonl", "--to-shards", "shards", "--model", model],
    ["embed", "--file", "bytes.jsonl", "--model", model],
  ])
    expect(await refused(args), args.join(" ")).toEqual(says("bytes.jsonl"));
  expect((await heddle(["tokenize", "--file", "strings.jsonl", "--jsonl", "--model", model])).stderr).toEqual(
    says("strings.jsonl"),
  );
});
