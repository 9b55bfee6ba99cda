// How rows of preference training are read, and errors for invalid rows.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sub } from "../../../lib/graph/index.ts";
import { pairsOf } from "../../../lib/train/preference/pair-rows.ts";
import { RowEncoder } from "../../../lib/train/preference/rows.ts";
import { type DpoLoss, dpo } from "../../../lib/train/stages/dpo.ts";
import { kto } from "../../../lib/train/stages/kto.ts";
import { orpo } from "../../../lib/train/stages/orpo.ts";
import { simpo } from "../../../lib/train/stages/simpo.ts";
import { pairs } from "../classify/sentences.ts";
import { useTrainedModel } from "../rollout/speaker.ts";

const place = useTrainedModel();
const { load } = place;

const common = { maxSteps: 30, perDeviceTrainBatchSize: 8, learningRate: 1e-3, warmupSteps: 3, seed: 5 };
const data = pairs(false);

describe("rows", () => {
  const rankedRows = [
    { prompt: "Anna likes", ranked: [[" a red ball.", " a small boat."], " the old tree.", " Ben."] },
  ];
  test("a ranking gives a pair for every two answers of different rank", async () => {
    const encoder = new RowEncoder(place.tokenizer);
    const row = { value: rankedRows[0]!, where: "data: row 1", index: 0, inFile: false };
    const texts = pairsOf(row, encoder).map(({ chosen, rejected }) =>
      [chosen, rejected].map(({ ids, promptLength }) =>
        place.tokenizer.decode(ids.slice(promptLength), { skipSpecialTokens: true }),
      ),
    );
    expect(texts).toEqual([
      [" a red ball.", " the old tree."],
      [" a small boat.", " the old tree."],
      [" a red ball.", " Ben."],
      [" a small boat.", " Ben."],
      [" the old tree.", " Ben."],
    ]);
    await using model = await load();
    await dpo(model, { ...common, maxSteps: 2, data: rankedRows });
  });

  test("an answer in messages follows the generation prompt, and the common beginning of two conversations is the prompt", () => {
    const encoder = new RowEncoder(place.tokenizer);
    const prompt = [{ role: "user", content: "Anna likes" }];
    const row = (value: object) => ({
      value: value as Record<string, unknown>,
      where: "data: row 1",
      index: 0,
      inFile: false,
    });
    const [pair] = pairsOf(
      row({ prompt, chosen: [{ role: "assistant", content: "a ball" }], rejected: "a tree" }),
      encoder,
    );
    const { ids, promptLength } = pair!.chosen;
    const opened = place.tokenizer.applyChatTemplate(prompt, { addGenerationPrompt: true }).ids;
    expect([...ids.slice(0, promptLength)]).toEqual([...opened]);
    expect(place.tokenizer.decode(ids.slice(promptLength))).toContain("a ball");
    // Two conversations need no separate prompt, because their common beginning is the prompt.
    const whole = (content: string) => [...prompt, { role: "assistant", content }];
    expect(pairsOf(row({ chosen: whole("a ball"), rejected: whole("a tree") }), encoder)).toEqual([pair]);
  });

  test("an answer without tokens is rejected, because its mean log-probability would be NaN", () => {
    const tokenizer = {
      encode: (text: string) => Uint32Array.from(text.replaceAll("\u200b", ""), (letter) => letter.codePointAt(0)!),
      closingCount: 0,
      eosTokenIds: [] as number[],
      applyChatTemplate: place.tokenizer.applyChatTemplate,
    };
    const row = (chosen: string) => ({
      value: { prompt: "Anna likes", chosen, rejected: " it." },
      where: "data: row 1",
      index: 0,
      inFile: false,
    });
    const of = (chosen: string, encoder = new RowEncoder(tokenizer)) => pairsOf(row(chosen), encoder);
    expect(of("\u200ba")[0]!.chosen.ids).toHaveLength("Anna likes".length + 1);
    expect(() => of("\u200b")).toThrow(/^data: row 1: chosen: expected a text of at least one token, got /);
    // An end token alone is enough.
    const ending = new RowEncoder({ ...tokenizer, eosTokenIds: [1] });
    expect(Array.from(of("\u200b", ending)[0]!.chosen.ids.slice("Anna likes".length))).toEqual([1]);
  });

  const cases: [string, object, RegExp][] = [
    [
      "an empty completion",
      { prompt: "a", chosen: " ", rejected: "b" },
      /pairs\.jsonl:2: chosen: expected a text that is not empty, got " "/,
    ],
    [
      "a missing prompt",
      { chosen: "a", rejected: "b" },
      /pairs\.jsonl:2: prompt: expected a text, or an array of messages, got nothing/,
    ],
    [
      "a message without a role",
      { prompt: [{ content: "a" }], chosen: "b", rejected: "c" },
      /:2: prompt\[0\]\.role: expected a role such as user, got nothing/,
    ],
    [
      "unknown fields",
      { text: "a" },
      /:2: row: expected prompt, chosen and rejected, or prompt and ranked, got the field text/,
    ],
    [
      "a margin that is not a number",
      { prompt: "a", chosen: "b", rejected: "c", margin: "1" },
      /:2: margin: expected a number, got "1"/,
    ],
    [
      "a ranking of one answer",
      { prompt: "a", ranked: ["b"] },
      /:2: ranked: expected at least two answers, best first/,
    ],
    [
      "a prompt longer than the context",
      { prompt: "Anna likes ".repeat(40), chosen: "b", rejected: "c" },
      /:2: row: expected at most 64 tokens .* got \d+ tokens/,
    ],
  ];
  test.each(cases)("are rejected with file and line: %s", async (_, row, message) => {
    const path = join(place.folder, "pairs.jsonl");
    await writeFile(path, `${JSON.stringify(data[0])}\n${JSON.stringify(row)}\n`);
    await using model = await load();
    await expect(dpo(model, { ...common, maxSteps: 1, data: path })).rejects.toMatchObject({
      code: "INVALID_FILE",
      message: expect.stringMatching(message),
    });
  });

  test("rows with equal answers are skipped with a warning; ties in a ranking give no pair", async () => {
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    await using model = await load();
    const same = { prompt: "Anna likes", chosen: " a red ball.", rejected: " a red ball." };
    const twice = [
      { role: "user", content: "Anna likes" },
      { role: "assistant", content: "a ball" },
    ];
    const tie = { prompt: "Anna likes", ranked: [[" a red ball.", " a small boat."]] };
    await dpo(model, {
      ...common,
      maxSteps: 1,
      data: [...data, same, { chosen: twice, rejected: twice }, tie],
      onWarning,
    });
    const places = [1, 2].map((i) => `data: row ${data.length + i}`).join("; ");
    expect(warnings).toEqual([`2 rows hold pairs of equal answers, which were skipped: ${places}`]);
    await expect(dpo(model, { ...common, data: [tie] })).rejects.toThrow(
      /^data: expected at least one row, got only equal answers: data: row 1$/,
    );
  });

  test("rows of prompts that a judge dismissed are named as such if no other row is left", async () => {
    await using model = await load();
    const dismissed = { prompt: "Anna likes", dismissed: true } as const;
    await expect(dpo(model, { ...common, data: [dismissed] })).rejects.toThrow(
      /^data: expected at least one row, got only dismissed prompts: data: row 1$/,
    );
    const tie = { prompt: "Anna likes", ranked: [[" a red ball.", " a small boat."]] };
    await expect(dpo(model, { ...common, data: [tie, dismissed] })).rejects.toThrow(
      /got only equal answers: data: row 1; only dismissed prompts: data: row 2$/,
    );
  });

  test("are dropped or truncated if they are too long, depending on truncationMode", async () => {
    const long = { prompt: "Anna likes ".repeat(40), chosen: " a red ball.", rejected: " the old tree." };
    const warnings: string[] = [];
    const onWarning = (message: string) => void warnings.push(message);
    await using model = await load();
    const options = { ...common, maxSteps: 1, data: [...data, long], onWarning };
    await dpo(model, { ...options, truncationMode: "drop" });
    await dpo(model, { ...options, truncationMode: "keep_end" });
    expect(warnings[0]).toMatch(/^data: 1 skipped, longer than 64 tokens \(maxSeqLength\): data: row 77 /);
    expect(warnings[1]).toMatch(
      /^data: 1 prompt was truncated to 64 tokens \(prompt and answer, maxSeqLength\): data: row 77$/,
    );
    await expect(dpo(model, { ...options, data: [long], truncationMode: "drop" })).rejects.toThrow(
      /only ones that are too long/,
    );
  });

  test("are rejected with contradictory options, unknown names, or labels that are all equal", async () => {
    await using model = await load();
    expect(() => dpo(model, { data, lossType: "hinge", labelSmoothing: 0.1 })).toThrow(
      /labelSmoothing: expected 0 with lossType hinge/,
    );
    const loss: DpoLoss = ({ chosen, rejected }) => sub(rejected, chosen);
    expect(() => dpo(model, { data, loss, labelSmoothing: 0.1 })).toThrow(
      /labelSmoothing: expected 0 with a custom loss, got 0\.1/,
    );
    expect(() => dpo(model, { data, loss, lossType: "hinge" })).toThrow(
      /loss: expected no custom loss with lossType hinge/,
    );
    expect(() => dpo(model, { data, lossType: "ipo", beta: 0 })).toThrow(
      /beta: expected a number above 0 with lossType ipo, got 0/,
    );
    expect(() => dpo(model, { data, betta: 1 } as never)).toThrow(
      /dpo\.betta: expected a known option \(nearest: beta\)/,
    );
    expect(() => orpo(model, { data, beta: -1 })).toThrow(/beta: expected a number of at least 0, got -1/);
    expect(() => simpo(model, { data, beta: 0 })).toThrow(/beta: expected a number above 0, got 0/);
    expect(() => simpo(model, { data, gamma: -0.1 })).toThrow(/gamma: expected a number of at least 0, got -0.1/);
    expect(() => simpo(model, { data, simpo_gamma: 1 } as never)).toThrow(
      /simpo\.simpo_gamma: expected a known option \(nearest: gamma\), got an unknown one/,
    );
    expect(() => simpo(model, { data, refModel: model } as never)).toThrow(/simpo\.refModel: .*got an unknown one/);
    const row = { prompt: "Anna likes", completion: " a red ball.", label: true };
    await expect(kto(model, { ...common, data: [row, row] })).rejects.toThrow(
      /^data: expected rows with label true and with false, got 2 that are all true/,
    );
    // The only row is held out by its index, whatever the seed.
    const alone = { ...common, evalFraction: 0.5 };
    for (const run of [
      kto(model, { ...alone, data: [row], seed: 3 }),
      dpo(model, { ...alone, data: data.slice(0, 1), seed: 4 }),
    ])
      await expect(run).rejects.toThrow(/^evalFraction: no row is left to train on/);
    expect(() => kto(model, { data: [row], perDeviceTrainBatchSize: 1 })).toThrow(
      /perDeviceTrainBatchSize: expected at least 2/,
    );
  });
});
