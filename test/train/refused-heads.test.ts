// Options that are refused leave a model as it was: a head of its own is not given up for a run that does not begin.
import { expect, test } from "vitest";
import { trainClassifier } from "../../lib/train/classify.ts";
import { trainReward } from "../../lib/train/reward.ts";
import { failureOf, sentences, tinyModel, tinyTokenizer } from "../generate/helpers.ts";

const labelled = sentences.slice(0, 8).map((text, i) => ({ text, label: i % 2 ? "odd" : "even" }));
const pairs = sentences.slice(0, 8).map((prompt, i) => ({ prompt, chosen: ` ${i}`, rejected: " no" }));

test.each<[string, object, RegExp]>([
  ["the best without evaluations", { loadBestModelAtEnd: true }, /^loadBestModelAtEnd: expected evalData or evaluate/],
  ["a resume from nowhere", { resume: true }, /^resume: expected an outputDir to resume from, got none$/],
  ["a schedule that is none", { decaySteps: 3 }, /^decaySteps: expected none without lrScheduler/],
])("%s is refused before the head gives way", async (_, wrong, message) => {
  await using base = tinyModel({ tokenizer: await tinyTokenizer() }, { tieWordEmbeddings: false });
  const before = await base.logits([1, 2, 3]);
  const options = { maxSteps: 1, ...wrong };
  for (const run of [
    () => trainReward(base, { ...options, data: pairs }),
    () => trainClassifier(base, { ...options, data: labelled }),
  ]) {
    expect((await failureOf(run)).message).toMatch(message);
    expect(await base.logits([1, 2, 3])).toEqual(before);
  }
});
