// Training encodes prompts with the ids of generation, whatever the tokenizer adds to a text.
import { beforeAll, describe, expect, it } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import { promptIds } from "../../../lib/language-model/prompt.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { sftExample } from "../../../lib/train/examples/sft-rows.ts";
import { RowEncoder } from "../../../lib/train/preference/rows.ts";
import { reread } from "../../../lib/train/rollout/rewards.ts";
import { sft } from "../../../lib/train/stages/sft.ts";

const words = ["cat", "dog", "sun", "moon", "tree", "fish"];
const colors = ["red", "blue", "big", "small", "old", "new"];
const rows = words.map((word, i) => ({ prompt: word, completion: ` is ${colors[i]}` }));
const texts = rows.map(({ prompt, completion }) => prompt + completion);
const special = { specialTokens: ["<s>", "</s>"], eosToken: "</s>" };

/** A tokenizer that also appends its end token to every text. */
function closing(tokenizer: Tokenizer): Tokenizer {
  const file = JSON.parse(tokenizer.files()["tokenizer.json"]!);
  file.post_processor.single.push({ SpecialToken: { id: "</s>", type_id: 0 } });
  file.post_processor.special_tokens["</s>"] = { id: "</s>", ids: [1], tokens: ["</s>"] };
  return Tokenizer.fromFiles({
    tokenizer: JSON.stringify(file),
    tokenizerConfig: tokenizer.files()["tokenizer_config.json"]!,
  });
}

let tokenizers: { name: string; tokenizer: Tokenizer; begin: number[]; end: number }[];
beforeAll(async () => {
  const gpt2 = await Tokenizer.train(texts, { vocabSize: 300 });
  const llama = await Tokenizer.train(texts, { vocabSize: 300, ...special, bosToken: "<s>" });
  const pieces = await Tokenizer.train(texts, { vocabSize: 300, algorithm: "sentencePieceBpe", bosToken: "<s>" });
  tokenizers = [
    { name: "byte level with a token between documents only", tokenizer: gpt2, begin: [], end: 0 },
    { name: "byte level with BOS before the text", tokenizer: llama, begin: [0], end: 1 },
    { name: "byte level with BOS before and EOS after the text", tokenizer: closing(llama), begin: [0], end: 1 },
    { name: "SentencePiece with BOS before the text", tokenizer: pieces, begin: [1], end: 2 },
  ];
});

describe("the ids of training prompts", () => {
  it("equal those of generation", async () => {
    for (const { name, tokenizer, begin, end } of tokenizers) {
      const own = (text: string) => [...tokenizer.encode(text, { addSpecialTokens: false })];
      const { vocabSize } = tokenizer;
      const asked = promptIds("cat", { tokenizer, vocabSize, isContinued: true });
      expect(asked, name).toEqual([...begin, ...own("cat")]);
      const at = { value: rows[0]!, where: "row 1", index: 0, inFile: false };
      const how = { assistantOnlyLoss: true, completionOnlyLoss: true };
      const { ids, mask } = sftExample(at, tokenizer, how);
      // The row's ids are those of the whole text, and start with the prompt's. The same holds for a row with a single text.
      expect([...ids], name).toEqual([...begin, ...own("cat is red"), end]);
      expect(mask.indexOf(1), name).toBe(asked.length);
      const whole = sftExample({ ...at, value: { text: "cat is red" } }, tokenizer, how);
      expect([...whole.ids], name).toEqual([...begin, ...own("cat is red"), end]);
      const encoder = new RowEncoder(tokenizer);
      const prompt = encoder.prompt(at);
      expect(prompt.ids, name).toEqual(asked);
      expect([...encoder.answer(at, prompt, "completion", " is red").ids], name).toEqual([...ids]);
      expect(reread(tokenizer, "cat", { text: " is red", ended: true }), name).toEqual([...whole.ids]);
    }
  });

  it("let generation reproduce the learned answers", async () => {
    const { tokenizer } = tokenizers[0]!;
    const base = { modelType: "llama", hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 1, numAttentionHeads: 4 };
    const model = createModel({ ...base, maxPositionEmbeddings: 32 } as const, { tokenizer, seed: 1 });
    await sft(model, { data: rows, maxSteps: 120, perDeviceTrainBatchSize: 6, learningRate: 5e-3 });
    for (const { prompt, completion } of rows)
      expect((await model.complete(prompt, { temperature: 0, maxTokens: 10 })).text).toBe(completion);
    await model.dispose();
  });
});
