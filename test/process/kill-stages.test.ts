// Every training stage resumes after kill -9 as if it had not been interrupted.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { stages as stageTable } from "../../lib/cli/options/stage-table.ts";
import { tinyModel, tinyTokenizer } from "../inference/helpers.ts";
import { cli, node } from "./helpers.ts";

let folder: string;

const things = ["cat", "dog", "sun", "boat", "tree", "road", "moon", "fish"];
const data: Record<string, object[]> = {
  chats: things.map((thing) => ({
    messages: [
      { role: "user", content: `What of the ${thing}?` },
      { role: "assistant", content: ` The ${thing} sat.` },
    ],
  })),
  labeled: things.map((text, i) => ({ text: `The ${text}`, label: i % 3 === 0 ? "a" : "b" })),
  texts: things.map((thing, i) => ({ anchor: `A ${thing}`, positive: `${thing} ${i}`, negative: `no ${thing}` })),
  pairs: things.map((thing) => ({ prompt: `The ${thing}`, chosen: " sat.", rejected: " ran off." })),
  rated: things.map((thing, i) => ({ prompt: `The ${thing}`, completion: " sat.", label: i % 2 === 0 })),
  prompts: things.map((thing) => ({ prompt: `The ${thing}` })),
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-kill-stages-"));
  await using base = tinyModel({ tokenizer: await tinyTokenizer() }, { initializerRange: 0.1 });
  await base.save(join(folder, "base"));
  for (const [name, rows] of Object.entries(data))
    await writeFile(join(folder, `${name}.jsonl`), rows.map((row) => JSON.stringify(row)).join("\n"));
  await writeFile(join(folder, "text.txt"), things.map((thing) => `The ${thing} sat there.`).join("\n\n"));
  await writeFile(
    join(folder, "rewards.mjs"),
    "export default async ({ completions }) => completions.map((text) => text.split('e').length / 10);",
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const file = (name: string) => join(folder, name);
const stages: [string, () => object][] = [
  ["sft", () => ({ data: file("chats.jsonl"), neftuneNoiseAlpha: 5, lora: { r: 2, dropout: 0.1 } })],
  ["sft", () => ({ data: file("chats.jsonl"), packing: true, optim: "muon" })],
  ["classify", () => ({ data: file("labeled.jsonl"), evalData: file("labeled.jsonl") })],
  ["embed", () => ({ data: file("texts.jsonl"), symmetric: true })],
  ["reward", () => ({ data: file("pairs.jsonl") })],
  ["dpo", () => ({ data: file("pairs.jsonl"), beta: 0.5 })],
  ["kto", () => ({ data: file("rated.jsonl"), lora: { r: 2, dropout: 0.1 } })],
  ["orpo", () => ({ data: file("pairs.jsonl") })],
  ["simpo", () => ({ data: file("pairs.jsonl") })],
  ["ppo", () => ({ prompts: file("prompts.jsonl"), rewards: file("rewards.mjs"), maxCompletionLength: 6 })],
  [
    "grpo",
    () => ({
      prompts: file("prompts.jsonl"),
      rewards: file("rewards.mjs"),
      numGenerations: 2,
      numIterations: 2,
      beta: 0.1,
      maxCompletionLength: 6,
    }),
  ],
];

test("the cases below include every stage but pre-training", () => {
  const names = Object.keys(stageTable).filter((name) => name !== "pretrain");
  expect([...new Set(stages.map(([name]) => name))].sort()).toEqual(names.sort());
});

const STEPS = 8;

async function train(stage: string, options: object, outputDir: string, killAt?: number) {
  const config = `${outputDir}.json`;
  const replay = { data: file("text.txt"), weight: 0.5, maxSeqLength: 16 };
  const common = {
    model: file("base"),
    maxSteps: STEPS,
    perDeviceTrainBatchSize: 2,
    gradientAccumulationSteps: 2,
    learningRate: 1e-3,
    saveSteps: 2,
    saveTotalLimit: 1,
    seed: 3,
    replay,
  };
  await writeFile(config, JSON.stringify({ ...common, ...options, outputDir }));
  const steps = new Map<number, unknown>();
  const args = [cli, "train", stage, "--config", config, "--json", "--resume"];
  const ended = await node(args, (line, kill) => {
    const { step, loss, gradNorm, metrics } = JSON.parse(line);
    if (typeof loss === "number") steps.set(step, { loss, gradNorm, metrics });
    if (killAt !== undefined && step === killAt) kill("SIGKILL");
  });
  return { ...ended, steps };
}

test.each(stages)(
  "%s: a run killed twice has the same steps and files as an uninterrupted run, bit for bit",
  async (stage, options) => {
    const name = `${stage}-${stages.findIndex(([, other]) => other === options)}`;
    const whole = await train(stage, options(), file(`${name}-whole`));
    expect(whole.code, whole.stderr).toBe(0);
    expect(new Set([...whole.steps.values()].map((step) => JSON.stringify(step))).size).toBe(STEPS);
    const steps = new Map<number, unknown>();
    for (const killAt of [3, 5]) {
      const killed = await train(stage, options(), file(`${name}-killed`), killAt);
      expect(killed.signal).toBe("SIGKILL");
      for (const [step, result] of killed.steps) steps.set(step, result);
    }
    const finished = await train(stage, options(), file(`${name}-killed`));
    expect(finished.code, finished.stderr).toBe(0);
    expect(Math.min(...finished.steps.keys())).toBeGreaterThan(2); // it resumed instead of starting over
    for (const [step, result] of finished.steps) steps.set(step, result);
    expect([...steps].sort(([a], [b]) => a - b)).toEqual([...whole.steps]);
    const [a, b] = [file(`${name}-whole`), file(`${name}-killed`)];
    expect((await readdir(b)).sort()).toEqual((await readdir(a)).sort());
    const weights = (await readdir(a)).filter((entry) => entry.endsWith(".safetensors"));
    expect(weights.length).toBe(1);
    for (const entry of weights)
      expect(Buffer.compare(await readFile(join(a, entry)), await readFile(join(b, entry))), entry).toBe(0);
  },
  120_000,
);
