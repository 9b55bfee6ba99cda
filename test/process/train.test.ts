import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Tokenizer } from "../../lib/tokenizer/index.ts";
import { cli, node } from "./helpers.ts";

let folder: string;
let config: Record<string, unknown>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-kill-"));
  const text = Array.from(
    { length: 300 },
    (_, i) => `The number ${i} is ${i % 2 ? "odd" : "even"}. After ${i} comes ${i + 1}.`,
  ).join("\n\n");
  await writeFile(join(folder, "numbers.txt"), text);
  await (await Tokenizer.train([text], { vocabSize: 300 })).save(join(folder, "tokenizer"));
  config = {
    data: ["numbers.txt"],
    tokenizer: "tokenizer",
    model: {
      model_type: undefined,
      modelType: "llama",
      hidden_size: 32,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 64,
    },
    max_steps: 40,
    perDeviceTrainBatchSize: 2,
    maxSeqLength: 32,
    learningRate: 1e-3,
    saveSteps: 4,
    saveTotalLimit: 2,
    seed: 5,
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function train(name: string, args: string[], killAt?: number) {
  const file = join(folder, `${name}.json`);
  await writeFile(file, JSON.stringify({ ...config, outputDir: join(folder, name) }));
  const losses = new Map<number, number>();
  let last: Record<string, unknown> = {};
  const ended = await node([cli, "train", "pretrain", "--config", file, "--json", ...args], (line, kill) => {
    last = JSON.parse(line);
    if (typeof last.loss === "number") losses.set(last.step as number, last.loss);
    if (killAt !== undefined && last.step === killAt) kill("SIGKILL");
  });
  return { ...ended, losses, last };
}

test("after kill -9 at several steps, --resume gives the losses of an uninterrupted run, bit for bit", async () => {
  const whole = await train("whole", []);
  expect(whole.code, whole.stderr).toBe(0);
  expect([...whole.losses.keys()]).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(whole.last).toMatchObject({ done: true, steps: 40, tokensSeen: 40 * 2 * 32 });
  expect(whole.last).not.toHaveProperty("loss");

  const losses = new Map<number, number>();
  for (const killAt of [3, 9, 22, 31]) {
    const killed = await train("killed", ["--resume"], killAt);
    expect(killed.signal).toBe("SIGKILL");
    for (const [step, loss] of killed.losses) losses.set(step, loss);
  }
  const finished = await train("killed", ["--resume"]);
  expect(finished.code, finished.stderr).toBe(0);
  expect(Math.min(...finished.losses.keys())).toBeGreaterThan(20); // it resumed instead of starting over
  for (const [step, loss] of finished.losses) losses.set(step, loss);
  expect([...losses].sort(([a], [b]) => a - b)).toEqual([...whole.losses]);
  expect((await readdir(join(folder, "killed"))).filter((n) => n.startsWith("."))).toEqual([]);
}, 180_000);

test("Ctrl-C saves the last completed step and reports the interruption", async () => {
  const stopped = await new Promise<Awaited<ReturnType<typeof train>>>((resolve) => {
    void (async () => {
      const file = join(folder, "stopped.json");
      await writeFile(
        file,
        JSON.stringify({
          ...config,
          outputDir: join(folder, "stopped"),
          saveSteps: 1000,
          maxSteps: 5000,
          max_steps: undefined,
        }),
      );
      const ended = await node([cli, "train", "pretrain", "--config", file, "--json"], (line, kill) => {
        if (JSON.parse(line).step === 6) kill("SIGINT");
      });
      resolve({ ...ended, losses: new Map(), last: {} });
    })();
  });
  expect(stopped.code).not.toBe(0);
  const saved = (await readdir(join(folder, "stopped"))).filter((n) => n.startsWith("checkpoint-"));
  expect(saved).toHaveLength(1);
  expect(stopped.stderr).toBe(
    `heddle: train: stopped by a signal; use --resume to continue from ${join(folder, "stopped", saved[0]!)}\n`,
  );
  expect(Number(saved[0]!.slice(11))).toBeGreaterThanOrEqual(6);
});

test.each([
  [{ learnig_rate: 1 }, /learnig_rate: expected a known option \(nearest: learningRate\)/],
  [{ data: ["missing.txt"] }, /missing\.txt/],
  [{ model: { modelType: "lama" } }, /modelType|model_type/],
  [{ model: 7 }, /model: expected the path of a checkpoint, or a configuration, got 7/],
])("an invalid configuration, %o, exits with code 2 and one line", async (wrong, message) => {
  const file = join(folder, "wrong.json");
  await writeFile(file, JSON.stringify({ ...config, outputDir: join(folder, "wrong"), ...wrong }));
  const { code, stdout, stderr } = await node([cli, "train", "pretrain", "--config", file, "--json"]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(message);
});
