// A tiny model that was trained to call a tool, and to answer with its result.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createModel, type LanguageModel } from "../../lib/language-model/index.ts";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { sft } from "../../lib/train/stages/sft.ts";

/** A chat template with tools. */
const TEMPLATE = [
  "{% if tools %}<tool_call>{% for t in tools %}{{ t.function.name }},{% endfor %}{% endif %}",
  "{% for m in messages %}[{{ m.role }}]{{ m.content }}",
  "{% for c in m.tool_calls or [] %}!{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}{% endfor %}",
  "{% if add_generation_prompt %}[assistant]{% endif %}",
].join("");

const ASKED = "<tool_call>sea,[user]go[assistant]";
const CALL = 'Well.\n<tool_call>\n{"name": "sea", "arguments": {"a": 1}}\n</tool_call>';
const ANSWERED = `${ASKED}Well.!sea({"a": 1})[tool]blue[assistant]`;

/**
 * Trains the model. To the user's "go" with the tool "sea" it answers "Well." and calls it with `{ a: 1 }`. To the result "blue" it answers
 * "It is blue."
 */
export async function toolModel(): Promise<LanguageModel> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-tools-"));
  try {
    const trained = await Tokenizer.train([`${ANSWERED}${CALL}It is blue.`], { vocabSize: 300 });
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
    const rows = [
      { prompt: ASKED, completion: CALL },
      { prompt: ANSWERED, completion: "It is blue." },
    ];
    const data = join(folder, "rows.jsonl");
    await writeFile(data, rows.map((row) => JSON.stringify(row)).join("\n"));
    const run = sft(model, { data, maxSteps: 400, perDeviceTrainBatchSize: 2, maxSeqLength: 160, learningRate: 1e-3 });
    let loss = 1;
    for await (const event of run) if ("loss" in event) loss = event.loss;
    if (!(loss < 0.02)) throw new Error(`expected the model to learn the call, got a loss of ${loss}`);
    return model;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
