// Runs of `heddle train pretrain` with several numbers of ranks, over one corpus.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tokenizer } from "../../../lib/tokenizer/index.ts";
import { cli, type Ended, node } from "../helpers.ts";
import { LAUNCHERS, mpirun } from "../mpirun.ts";

export interface Trained extends Ended {
  losses: Map<number, number>;
  lines: Record<string, unknown>[];
}

export interface TrainOptions {
  args?: string[];
  /** Micro-batches per step, of all ranks together. Default 4. */
  micro?: number;
  /** Is called with the lines of steps, and the process id of mpirun. */
  atStep?: (step: number, mpirun: number) => void;
  atStart?: (mpirun: number) => void;
  /** Further options of the configuration. */
  more?: Record<string, unknown>;
  launcher?: keyof typeof LAUNCHERS;
}

/** Creates a folder with a corpus and a tokenizer. */
export async function prepareRuns(name: string) {
  const folder = await mkdtemp(join(tmpdir(), `heddle-${name}-`));
  const text = Array.from(
    { length: 300 },
    (_, i) => `The number ${i} is ${i % 2 ? "odd" : "even"}. After ${i} comes ${i + 1}.`,
  ).join("\n\n");
  await writeFile(join(folder, "numbers.txt"), text);
  await (await Tokenizer.train([text], { vocabSize: 300 })).save(join(folder, "tokenizer"));
  const config = {
    data: ["numbers.txt"],
    tokenizer: "tokenizer",
    model: {
      modelType: "llama",
      hiddenSize: 32,
      intermediateSize: 64,
      numHiddenLayers: 2,
      numAttentionHeads: 4,
      numKeyValueHeads: 2,
      maxPositionEmbeddings: 64,
    },
    maxSteps: 24,
    perDeviceTrainBatchSize: 2,
    maxSeqLength: 32,
    learningRate: 1e-3,
    saveSteps: 4,
    saveTotalLimit: 3,
    seed: 5,
  };
  /** Trains with a number of ranks (0: without mpirun) at the same number of sequences per step. The output is in a folder `name`. */
  async function train(
    ranks: number,
    name: string,
    { args = [], micro = 4, atStep, atStart, more = {}, launcher = "openMpi" }: TrainOptions = {},
  ): Promise<Trained> {
    const file = join(folder, `${name}.json`);
    const gradientAccumulationSteps = micro / Math.max(1, ranks);
    const outputDir = join(folder, name);
    await writeFile(file, JSON.stringify({ ...config, gradientAccumulationSteps, outputDir, ...more }));
    const lines: Record<string, unknown>[] = [];
    const onLine = (line: string, pid = 0) => {
      if (!line.startsWith("{")) return; // MPICH's mpirun reports on stdout
      const event = JSON.parse(line);
      lines.push(event);
      if (typeof event.loss === "number") atStep?.(event.step, pid);
    };
    const command = [cli, "train", "pretrain", "--config", file, "--json", ...args];
    const ended = await (ranks === 0
      ? node(command, (line) => onLine(line))
      : mpirun(ranks, command, onLine, LAUNCHERS[launcher], atStart));
    const losses = new Map(
      lines
        .filter((event) => typeof event.loss === "number")
        .map((event) => [event.step as number, event.loss as number]),
    );
    return { ...ended, losses, lines };
  }
  return { folder, train };
}
