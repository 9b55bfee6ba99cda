// The best evaluation after resuming with another metric.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sentences } from "../../inference/helpers.ts";
import { bestRun, newModel } from "./best-run.ts";

let folder: string;
let corpus: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-best-resume-"));
  corpus = join(folder, "corpus.txt");
  await writeFile(corpus, sentences.join("\n\n"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type At = { step: number };

// If the first run's best score were kept, it would beat every later evaluation. In the first case it is 5, and later scores are at most
// 0.12. In the second case it is 0.6, later scores are at least 2, and lower is better after resuming.
test.each([
  [
    "another metricForBestModel",
    {},
    { metricForBestModel: "share", evaluate: ({ step }: At) => ({ share: step / 100 }) },
    12,
  ],
  [
    "the opposite greaterIsBetter",
    { evaluate: ({ step }: At) => ({ score: step / 10 }) },
    { greaterIsBetter: false },
    8,
  ],
])(
  "resumed with %s, a run warns and ends with the best of the later evaluations",
  async (name, before, more, bestStep) => {
    const outputDir = join(folder, name.replaceAll(" ", "-"));
    await using first = await newModel();
    expect(await bestRun(first, corpus, { outputDir, maxSteps: 6, ...before })).toMatchObject({ bestStep: 6 });
    const said: string[] = [];
    await using second = await newModel();
    const options = { outputDir, resume: true, onWarning: (message: string) => void said.push(message), ...more };
    expect(await bestRun(second, corpus, options)).toMatchObject({ steps: 12, bestStep });
    expect(said).toEqual([expect.stringMatching(/^metricForBestModel: the run was resumed with another metric/)]);
  },
);
