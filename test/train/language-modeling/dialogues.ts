// Short conversations that a tiny model learns in a few steps, for tests of supervised fine-tuning.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { createModel } from "../../../lib/language-model/create.ts";
import type { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import type { StepEvent, TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";

const names = ["Anna", "Ben", "Clara", "Dan", "Eva", "Finn", "Gus", "Hana"];
const things = ["red ball", "old tree", "small boat", "green hat"];
export const rows = names.flatMap((name) =>
  things.map((thing) => ({
    messages: [
      { role: "user", content: `What does ${name} hold, a ${thing} or nothing?` },
      { role: "assistant", content: `${name} holds a ${thing}.` },
    ],
  })),
);

/** Provides a folder with these rows and their text, a tokenizer and new models. Set up before a file's first test. */
export function workplace() {
  const place = {
    folder: "",
    tokenizer: undefined as unknown as Tokenizer,
    newModel: () =>
      createModel(
        {
          modelType: "llama",
          hiddenSize: 32,
          intermediateSize: 64,
          numHiddenLayers: 2,
          numAttentionHeads: 4,
          numKeyValueHeads: 2,
          maxPositionEmbeddings: 128,
          tieWordEmbeddings: true,
        },
        { tokenizer: place.tokenizer, seed: 3 },
      ),
  };
  beforeAll(async () => {
    place.folder = await mkdtemp(join(tmpdir(), "heddle-sft-"));
    place.tokenizer = await Tokenizer.train(
      rows.map(({ messages }) => messages.map((m) => m.content).join("\n")),
      { vocabSize: 340 },
    );
    await writeFile(join(place.folder, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
    await writeFile(join(place.folder, "text.txt"), rows.map(({ messages }) => messages[1]!.content).join("\n\n"));
  });
  afterAll(() => rm(place.folder, { recursive: true, force: true }));
  return place;
}

export const options = (more: Partial<SftOptions> = {}): SftOptions => ({
  data: rows,
  maxSteps: 8,
  perDeviceTrainBatchSize: 4,
  learningRate: 5e-3,
  seed: 7,
  ...more,
});

export const isStep = (event: TrainEvent): event is StepEvent => "loss" in event;

export async function steps(base: LanguageModel, given: SftOptions): Promise<StepEvent[]> {
  const out: StepEvent[] = [];
  for await (const event of sft(base, given)) if (isStep(event)) out.push(event);
  return out;
}
