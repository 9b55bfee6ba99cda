// Special tokens in the texts that a classifier is trained on.
import { expect, test } from "vitest";
import { embeddedIds } from "../../../lib/language-model/embed/embed.ts";
import { encodeLabeled } from "../../../lib/train/examples/classify-rows.ts";
import { newModel, tokenizer } from "../../formats/sentence-transformers/embedding-folders.ts";

test("a labeled text has the ids of classify, which parses special tokens", async () => {
  await using model = newModel("bert", {});
  const text = "the cat [SEP] a dog";
  expect(tokenizer.encode(text, { allowSpecial: true })).not.toEqual(tokenizer.encode(text));
  const reading = { tokenizer, index: new Map([["a", 0]]), maxLength: 40, truncation: false };
  const row = { number: 1, row: {}, name: "data" } as never;
  const { ids } = encodeLabeled(
    { row, text, labels: ["a"] },
    { ...reading, problemType: "single_label_classification" },
  );
  expect([[...ids]]).toEqual((await embeddedIds([text], model, {})).ids);
});
