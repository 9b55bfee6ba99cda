import { describe, expect, test } from "vitest";
import { type ModelCard, parseModelCard } from "../../../lib/formats/model-card.ts";
import { cardOf } from "../../../lib/train/loop/stage-card.ts";
import type { TrainingOptions } from "../../../lib/train/options/parse-options.ts";

const about = { notes: "", evaluation: { name: "held-out", metric: "loss" } };
const card = (data: string[], parent?: ModelCard, options: Partial<TrainingOptions> = {}) =>
  parseModelCard(
    cardOf(parent, "sft", { ...about, data }, options as TrainingOptions, { tokensSeen: 5 }, undefined, new Set()),
  );
const names = ({ data }: ModelCard) => data.map(({ name }) => name);

describe("the data of a model card", () => {
  test("lists data of earlier stages and of replay once", () => {
    const replay = { replay: { data: ["a/text.txt"], stage: "pretrain", weight: 1 } } as Partial<TrainingOptions>;
    const before = card(["text.txt"]);
    expect(names(card(["rows.jsonl"], before, replay))).toEqual(["text.txt", "rows.jsonl"]);
    const licensed = parseModelCard({ stage: "pretrain", data: [{ name: "text.txt", license: "MIT" }] });
    // The same name under another license is another entry.
    expect(names(card(["text.txt"], licensed))).toEqual(["text.txt", "text.txt"]);
  });

  test("ends with the number of further files when there are too many to list", () => {
    const many = card(Array.from({ length: 1005 }, (_, i) => `${i}.txt`));
    expect(many.data).toHaveLength(1000);
    expect(names(many).slice(-2)).toEqual(["998.txt", "and 6 more"]);
  });
});
