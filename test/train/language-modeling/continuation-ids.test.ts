// Completions are encoded as the continuation of their prompt, whatever a tokenizer prepends to a text.
import { join } from "node:path";
import { beforeAll, describe, expect, it, test } from "vitest";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { continuationIds, promptIdsOf } from "../../../lib/tokenizer/prompt-ids.ts";
import { sftExample } from "../../../lib/train/examples/sft-rows.ts";
import { pairsOf } from "../../../lib/train/preference/pair-rows.ts";
import { RowEncoder } from "../../../lib/train/preference/rows.ts";
import { reread } from "../../../lib/train/rollout/rewards.ts";
import { fixtures } from "../../helpers/fixtures.ts";
import { prefixedTokenizers, sample, textAfter } from "../../tokenizer/pipeline/prefixed.ts";

let tokenizers: { name: string; tokenizer: Tokenizer }[];
beforeAll(async () => {
  const byteLevel = await Tokenizer.train(sample, { vocabSize: 300, eosToken: "</s>", specialTokens: ["</s>"] });
  tokenizers = [...(await prefixedTokenizers()), { name: "byte level", tokenizer: byteLevel }];
});

const sftOptions = { assistantOnlyLoss: true, completionOnlyLoss: true };
const rowOf = (value: Record<string, unknown>) => ({ value, where: "row 1", index: 0, inFile: false });

/** Prompts and answers. Some have a word or a run of line breaks across the border between the two. */
const rows = [
  { prompt: "The sky is", completion: " blue." },
  { prompt: "A:\n", completion: "Paris" },
  { prompt: "The sky is (", completion: "near)" },
  { prompt: "The sky is ", completion: "blue." },
  { prompt: "the unbeliev", completion: "able cat" },
  { prompt: "one\n", completion: "\ntwo" },
  { prompt: "", completion: "The end" },
];

/** Returns a row's ids and checks that they are the same in every stage. */
function idsOf(tokenizer: Tokenizer, { prompt, completion }: (typeof rows)[number]) {
  const { ids, mask } = sftExample(rowOf({ prompt, completion }), tokenizer, sftOptions);
  const encoder = new RowEncoder(tokenizer);
  if (prompt !== "") {
    const row = rowOf({ prompt, chosen: completion, rejected: " other", completion });
    const [pair] = pairsOf(row, encoder);
    const answer = encoder.answer(row, encoder.prompt(row), "completion", completion);
    for (const one of [pair!.chosen, answer]) {
      expect([...one.ids]).toEqual([...ids]);
      expect(one.promptLength).toBe(mask.indexOf(1));
    }
    expect(reread(tokenizer, prompt, { text: completion, ended: true })).toEqual([...ids]);
  }
  const from = mask.indexOf(1);
  expect(mask.lastIndexOf(0)).toBe(from - 1);
  return { ids, from };
}

/** Checks that the prompt has the ids of generation and that the completion keeps its text. */
function check(tokenizer: Tokenizer, row: (typeof rows)[number], name: string): void {
  const { ids, from } = idsOf(tokenizer, row);
  const promptIds = promptIdsOf(tokenizer, row.prompt);
  const end = tokenizer.eosTokenIds[0]!;
  const together = [...promptIdsOf(tokenizer, row.prompt + row.completion), end];
  const crossesBorder = promptIds.some((id, i) => together[i] !== id);
  expect([...ids.slice(0, from)], name).toEqual([...promptIds]);
  expect(textAfter(tokenizer, promptIds, ids.slice(from)), name).toBe(row.completion);
  if (!crossesBorder) expect([...ids], name).toEqual(together);
}

describe("a completion", () => {
  it("has the ids that follow the prompt's when both are encoded together, if no token crosses the border", () => {
    for (const { name, tokenizer } of tokenizers)
      for (const row of rows.slice(0, 3)) {
        const { ids } = idsOf(tokenizer, row);
        const together = promptIdsOf(tokenizer, row.prompt + row.completion);
        expect([...ids], `${name}: ${row.prompt}`).toEqual([...together, tokenizer.eosTokenIds[0]!]);
      }
  });

  it("leaves the prompt's ids unchanged and keeps its own text, even where a token would cross the border", () => {
    let spanned = 0;
    for (const { name, tokenizer } of tokenizers)
      for (const row of rows) {
        // Without BOS, nothing precedes the first token, so it is not learned.
        if (promptIdsOf(tokenizer, row.prompt).length === 0) continue;
        check(tokenizer, row, `${name}: ${JSON.stringify(row)}`);
        const ids = promptIdsOf(tokenizer, row.prompt);
        const together = promptIdsOf(tokenizer, row.prompt + row.completion);
        if (ids.some((id, i) => together[i] !== id)) spanned++;
      }
    expect(spanned).toBeGreaterThan(4);
  });

  it("keeps its text, wherever the border is", () => {
    for (const { name, tokenizer } of tokenizers)
      for (const text of sample)
        for (let at = 1; at < text.length; at++) {
          const [prompt, answer] = [text.slice(0, at), text.slice(at)];
          const ids = promptIdsOf(tokenizer, prompt);
          const after = continuationIds(tokenizer, { text: prompt, ids }, answer);
          expect(textAfter(tokenizer, ids, after), `${name}: ${prompt}|${answer}`).toBe(answer);
        }
  });

  it("keeps special tokens in its text", () => {
    for (const { name, tokenizer } of tokenizers) {
      const ids = promptIdsOf(tokenizer, "The sky");
      const after = continuationIds(tokenizer, { text: "The sky", ids }, " is</s>");
      expect(after.at(-1), name).toBe(tokenizer.tokenToId("</s>"));
    }
  });
});

const llama2 = fixtures && join(fixtures, "tokenizers/llama2/tokenizer.json");
test.skipIf(!llama2)(
  "Llama 2's tokenizer encodes answers after a space, without a space and within a word",
  async () => {
    const tokenizer = await Tokenizer.load(llama2!);
    const names = (prompt: string, completion: string) => {
      const ids = promptIdsOf(tokenizer, prompt);
      return Array.from(continuationIds(tokenizer, { text: prompt, ids }, completion), (id) => tokenizer.idToToken(id));
    };
    expect(names("The sky is", " blue.")).toEqual(["▁blue", "."]);
    expect(names("A:\n", "Paris")).toEqual(["Par", "is"]);
    expect(names("The sky is ", "blue.")).toEqual(["blue", "."]);
    for (const row of rows.slice(1)) {
      const ids = promptIdsOf(tokenizer, row.prompt);
      const after = continuationIds(tokenizer, { text: row.prompt, ids }, row.completion);
      expect(textAfter(tokenizer, ids, after)).toBe(row.completion);
    }
  },
);
