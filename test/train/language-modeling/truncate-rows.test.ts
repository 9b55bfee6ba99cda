// Training truncates rows as `embed` and `classify` do, keeping the tokenizer's closing tokens.
import { expect, test } from "vitest";
import { cutText } from "../../../lib/language-model/prompt.ts";
import { encodeLabeled, readLabeled } from "../../../lib/train/examples/classify-rows.ts";
import { columnPrompts } from "../../../lib/train/examples/embed-prompts.ts";
import { readPairs } from "../../../lib/train/examples/embed-rows.ts";
import { tokenizer } from "../../formats/sentence-transformers/embedding-folders.ts";

const text = "the cat sat on the mat in the old tree";
const whole = tokenizer.encode(text);
const truncated = (contextLength: number) => cutText(text, tokenizer, { name: "text", contextLength });

test.each([3, 5, 9, whole.length - 1, whole.length, whole.length + 1])(
  "training truncates a row to %i tokens, as embed and classify do",
  async (maxLength) => {
    expect(tokenizer.closingCount).toBeGreaterThan(0);
    const expected = maxLength < whole.length ? await truncated(maxLength) : Array.from(whole);
    const prompts = columnPrompts({}, { pooling: "mean", normalize: true }, tokenizer);
    const pairOptions = { name: "data", tokenizer, prompts, lowercase: false, maxLength, truncation: true };
    const [pair] = await readPairs([{ anchor: text, positive: "old" }], { ...pairOptions, signal: undefined });
    expect(Array.from(pair!.anchor)).toEqual(expected);

    const problemType = "single_label_classification";
    const index = new Map(["a", "b"].map((label, i) => [label, i]));
    const labelOptions = { tokenizer, index, problemType, maxLength, truncation: true } as const;
    const [row] = await readLabeled([{ text, label: "a" }], { name: "data", problemType });
    expect(Array.from(encodeLabeled(row!, labelOptions).ids)).toEqual(expected);

    // The words that are left keep their labels.
    const words = text.split(" ");
    const tagged = { tokens: words, labels: words.map(() => "b") };
    const [tags] = await readLabeled([tagged], { name: "data", problemType });
    const { ids, at, targets } = encodeLabeled(tags!, labelOptions);
    expect(Array.from(ids)).toEqual(expected);
    const end = Math.min(maxLength, whole.length) - tokenizer.closingCount;
    expect(Math.max(...at)).toBe(end - 1);
    expect(Array.from(targets)).toEqual(Array.from(at, (place) => (place < 0 ? -1 : 1)));
  },
);
