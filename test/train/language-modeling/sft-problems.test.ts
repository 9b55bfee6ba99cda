// Rows, options and checkpoints that supervised fine-tuning rejects, with location, expected and got.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { options, rows, workplace } from "./dialogues.ts";

const place = workplace();
const { newModel } = place;

describe("sft", () => {
  const written = async (name: string, lines: unknown[]) => {
    const path = join(place.folder, name);
    await writeFile(path, lines.map((l) => (typeof l === "string" ? l : JSON.stringify(l))).join("\n"));
    return path;
  };
  const good = rows[0]!;
  const cases: [string, unknown, RegExp][] = [
    [
      "role",
      { messages: [{ content: "x" }] },
      /role\.jsonl:2: messages\[0\]\.role: expected a role such as user, got nothing/,
    ],
    [
      "misspelt",
      { messages: [{ role: "assitant", content: "x" }] },
      /misspelt\.jsonl:2: messages\[0\]\.role: expected assistant, got "assitant"/,
    ],
    [
      "unknown",
      { messages: [{ role: "narrator of it all", content: "x" }, good.messages[1]] },
      /unknown\.jsonl:2: messages\[0\]\.role: expected one of system, .*, got "narrator of it all"/,
    ],
    [
      "null",
      { messages: [{ role: "user", content: null }, good.messages[1]] },
      /null\.jsonl:2: messages\[0\]\.content: expected a text, got null/,
    ],
    [
      "answer",
      { messages: [good.messages[0], { role: "assistant", content: "" }] },
      /answer\.jsonl:2: messages\[1\]\.content: expected an answer that is not empty, got ""/,
    ],
    [
      "nobody",
      { messages: [good.messages[0]] },
      /nobody\.jsonl:2: messages: expected at least one assistant message \(assistantOnlyLoss: false trains on all messages\), got user/,
    ],
    [
      "completion",
      { prompt: "a", completion: " " },
      /completion\.jsonl:2: completion: expected a text that is not empty/,
    ],
    [
      "shape",
      { question: "a", answer: "b" },
      /shape\.jsonl:2: row: expected messages, prompt and completion, or text, got the fields question, answer/,
    ],
    ["json", "{not json", /json\.jsonl:2: expected a JSON object/],
    ["text", { text: 3 }, /text\.jsonl:2: text: expected a text, got 3/],
  ];
  test.each(cases)("rejects an invalid row and names file, line and field: %s.jsonl", async (name, row, message) => {
    const data = await written(`${name}.jsonl`, [good, row]);
    await using base = newModel();
    await expect(sft(base, options({ data }))).rejects.toThrow(message);
  });

  test("truncates too long rows with a warning, drops them if no answer is left, or rejects them", async () => {
    const long = {
      messages: [
        { role: "user", content: "what ".repeat(60) },
        { role: "assistant", content: "Yes." },
      ],
    };
    const data = await written("long.jsonl", [good, long, good]);
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    await using base = newModel();
    await sft(base, options({ data, maxSteps: 1, onWarning, maxSeqLength: 64 }));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /data: 1 row was skipped because no token is trained on: .*long\.jsonl:2 \(\d+ tokens: the first token to train on is number \d+, but only the first 64 tokens are kept\)/,
    );
    await expect(sft(base, options({ data, truncationMode: "error", maxSeqLength: 64 }))).rejects.toThrow(
      /long\.jsonl:2: row: expected at most maxSeqLength = 64 tokens, got \d+ tokens/,
    );
    await sft(base, options({ data, maxSteps: 1, truncationMode: "keep_end", onWarning, maxSeqLength: 64 }));
    expect(warnings[1]).toMatch(/data: 1 row was cut to 64 tokens \(maxSeqLength\): .*long\.jsonl:2/);
    await expect(sft(base, options({ data: [long], onWarning, maxSeqLength: 64 }))).rejects.toThrow(
      /data: expected at least one row with a token to train on, got none: data: row 1/,
    );
  });

  test("names the length as the reason if truncationMode drops a row", async () => {
    const long = { text: "what ".repeat(60) };
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    await using base = newModel();
    const dropping = { truncationMode: "drop", maxSeqLength: 64, onWarning } as const;
    await sft(base, options({ ...dropping, data: [good, long], maxSteps: 1 }));
    expect(warnings).toEqual([
      expect.stringMatching(
        /^data: 1 row was skipped, longer than 64 tokens \(maxSeqLength\): data: row 2 \(\d+ tokens\)$/,
      ),
    ]);
    await expect(sft(base, options({ ...dropping, data: [long] }))).rejects.toThrow(
      /^data: expected at least one row with a token to train on, got only rows longer than maxSeqLength 64: data: row 1 \(\d+ tokens\)$/,
    );
  });

  test("rejects unknown options, also inside lora and replay, and names the nearest known one", () => {
    const base = newModel();
    const wrong = (more: object) => () => sft(base, options(more as Partial<SftOptions>));
    expect(wrong({ pakcing: true })).toThrow(/sft\.pakcing: expected a known option \(nearest: packing\)/);
    expect(wrong({ replay: { data: "x", wieght: 1 } })).toThrow(
      /sft\.replay\.wieght: expected a known option \(nearest: weight\), got an unknown one/,
    );
    expect(wrong({ data: 3 })).toThrow(/data: expected a path, an array of paths, or an iterable of rows, got 3/);
    expect(wrong({ lora: { alhpa: 3 } })).toThrow(
      /^lora\.alhpa: expected a known option \(nearest: alpha\), got an unknown one$/,
    );
    expect(wrong({ lora: { rank: 3 } })).toThrow(
      /^lora\.rank: expected a known option \(nearest: r\), got an unknown one$/,
    );
    expect(wrong({ lora: { zzz: 3 } })).toThrow(
      /^lora\.zzz: expected one of r, alpha, dropout, targetModules, useRslora, modulesToSave, got an unknown one$/,
    );
    base.dispose();
  });

  test("rejects a checkpoint of an adapter of another rank or scale, and names the option", async () => {
    const outputDir = join(place.folder, "other-rank");
    await using base = newModel();
    await sft(base, options({ outputDir, maxSteps: 1, lora: { r: 2 } }));
    for (const [lora, message] of [
      [{ r: 4 }, /^lora\.r: expected 2, as in the resumed run \(.*checkpoint-1\), got 4$/],
      [{ r: 2, alpha: 8 }, /^lora\.alpha: expected 4, as in the resumed run .*, got 8$/],
    ] as const) {
      await using next = newModel();
      await expect(sft(next, options({ outputDir, lora, resume: "auto" }))).rejects.toThrow(message);
    }
  });

  test("rejects a checkpoint of other data", async () => {
    const outputDir = join(place.folder, "other-data");
    await using base = newModel();
    await sft(base, options({ outputDir, maxSteps: 2, saveSteps: 1 }));
    await using next = newModel();
    await expect(sft(next, options({ data: rows.slice(1), outputDir, resume: "auto" }))).rejects.toThrow(
      /expected the data and options of the resumed run/,
    );
  });
});
