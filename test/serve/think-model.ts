// A tiny model that was trained to think before it answers.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { sft } from "../../lib/train/stages/sft.ts";

/** A chat template whose prompt ends before reasoning, within reasoning, or after empty reasoning. */
const TEMPLATE = [
  "{% for m in messages %}[{{ m.role }}]",
  "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}{% endfor %}",
  "{% if add_generation_prompt %}[assistant]{% if enable_thinking is defined %}",
  "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}{% endif %}",
].join("");

const ASKED = "[user]go[assistant]";
export const THOUGHT = "The sea is\nblue.";
export const ANSWER = "It is blue.";
const REST = `${THOUGHT}\n</think>\n\n${ANSWER}`;

/** Trains the model. It answers the user's "go" with ANSWER, and thinks THOUGHT before unless `enable_thinking` is false. */
export async function thinkModel(): Promise<LanguageModel> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-think-"));
  try {
    const rows = [
      { prompt: ASKED, completion: `<think>\n${REST}` },
      { prompt: `${ASKED}<think>\n`, completion: REST },
      { prompt: `${ASKED}<think>\n\n</think>\n\n`, completion: ANSWER },
    ];
    const trained = await Tokenizer.train([`${ASKED}<think>\n\n</think>\n\n${THOUGHT}${ANSWER}`], { vocabSize: 280 });
    const files = trained.files();
    const tokenizer = Tokenizer.fromFiles({
      tokenizer: files["tokenizer.json"],
      tokenizerConfig: files["tokenizer_config.json"],
      chatTemplate: TEMPLATE,
    });
    const sizes = {
      hiddenSize: 64,
      intermediateSize: 128,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
    };
    const model = createModel({ modelType: "llama", ...sizes, maxPositionEmbeddings: 256 }, { tokenizer, seed: 1 });
    const data = join(folder, "rows.jsonl");
    await writeFile(data, rows.map((row) => JSON.stringify(row)).join("\n"));
    const run = sft(model, { data, maxSteps: 400, perDeviceTrainBatchSize: 3, maxSeqLength: 160, learningRate: 1e-3 });
    let loss = 1;
    for await (const event of run) if ("loss" in event) loss = event.loss;
    if (!(loss < 0.02)) throw new Error(`expected the model to learn its answers, got a loss of ${loss}`);
    return model;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
