// A model trained on the small language of sentences.ts, and helpers that collect a run's events.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import type { Tokenizer } from "../../../lib/tokenizer/index.ts";
import type { EvalEvent, StepEvent, TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { speakingModel, trainedTokenizer } from "../classify/sentences.ts";

/** Provides a folder with the model. Set up before a file's first test. */
export function useTrainedModel() {
  const place = {
    folder: "",
    tokenizer: undefined as unknown as Tokenizer,
    load: () => LanguageModel.load(join(place.folder, "base")),
  };
  beforeAll(async () => {
    place.folder = await mkdtemp(join(tmpdir(), "heddle-speaker-"));
    place.tokenizer = await trainedTokenizer();
    const at = (name: string) => join(place.folder, name);
    await (await speakingModel(place.tokenizer, at("corpus.txt"), at("base"))).dispose();
  });
  afterAll(() => rm(place.folder, { recursive: true, force: true }));
  return place;
}

export async function eventsOf(run: AsyncIterable<TrainEvent>): Promise<{ steps: StepEvent[]; held: EvalEvent[] }> {
  const steps: StepEvent[] = [];
  const held: EvalEvent[] = [];
  for await (const event of run) "loss" in event ? steps.push(event) : held.push(event);
  return { steps, held };
}

export const lossesOf = async (run: AsyncIterable<TrainEvent>) => (await eventsOf(run)).steps.map(({ loss }) => loss);
