// Predicts the time of a training step on many ranks from bytes, latencies and assumed rates, and prints the tables of docs/scale.md.
//
//   node scripts/scale-forecast.mjs            predictions for H100 nodes with NCCL, and CPU nodes with MPI
//   node scripts/scale-forecast.mjs --check FILE.jsonl    compares the model with results of `npm run bench -- ranks`
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

/** Bytes of gradients and of weights that ranks exchange, in f32. */
const BYTES = 4;

/**
 * Predicts a step.
 * @param of.parameters number of trained parameters
 * @param of.tokens number of tokens per rank and step
 * @param of.micro number of micro-batches per rank and step
 * @param of.rate floating-point operations per second that a rank reaches
 * @param of.link bytes per second that a rank sends, in collective operations
 * @param of.messages messages per rank and step, each of which takes `of.latency` seconds
 * @param of.overlap share of the gradients' exchange that the backward pass can hide, 0 or 1
 * @returns seconds of computation and of visible communication
 */
export function forecast({
  parameters,
  tokens,
  micro = 1,
  rate,
  link,
  latency,
  messages,
  ranks,
  sharding,
  overlap = 0,
}) {
  const compute = (6 * parameters * tokens) / rate;
  // A reduce-scatter or an all-gather moves (N - 1) / N of the bytes through every rank's link.
  const once = ((ranks - 1) / ranks) * BYTES * parameters;
  const reduces = sharding === "gradients" ? micro : 1;
  const perPass = once / link + messages(ranks, parameters) * latency;
  const reduce = reduces * perPass;
  const hidden = sharding === "gradients" ? Math.min(reduce, overlap * (2 / 3) * compute) : 0;
  return { compute, communication: ranks === 1 ? 0 : reduce - hidden + perPass };
}

/**
 * Bytes per rank for weights, gradients and AdamW's moments.
 */
export function stateBytes(parameters, ranks, sharding) {
  const whole = { none: 16, optimizer: 8, gradients: 4 }[sharding];
  return parameters * (whole + (16 - whole) / ranks);
}

/** RankGroup exchanges chunks of 2 MiB, or 32 KiB per rank if that is more, by one message to every other rank. */
const mpiMessages = (ranks, parameters) =>
  Math.ceil((BYTES * parameters) / Math.max(2 ** 21, 2 ** 15 * ranks)) * (ranks - 1);
/** NCCL's trees have a depth of log2(ranks). Their latency counts once per operation. */
const ncclMessages = (ranks) => Math.log2(ranks);

const H100 = {
  title: "8B parameters, 8,192 tokens per GPU, H100 nodes of 8 GPUs with 8 x 400 Gbit/s, NCCL",
  parameters: 8e9,
  tokens: 8192,
  rate: 400e12, // 40 % of the data sheet's 989e12 in bf16
  link: 185e9, // half of the 370 GB/s that NCCL's all-reduce reaches on such nodes: groups of ncclReduce with many roots
  latency: 20e-6,
  messages: ncclMessages,
};
const CPU = {
  title: "1.1B parameters, 8 micro-batches of 1,024 tokens per rank, one rank per CPU of 3e12 FLOP/s, 100 Gbit/s, MPI",
  parameters: 1.1e9,
  tokens: 8192,
  micro: 8,
  rate: 3e12,
  link: 3e9, // of 12.5e9: one thread copies and adds
  latency: 3e-6,
  messages: mpiMessages,
  overlap: 1,
};

function print({ title, ...of }) {
  console.log(`\n${title}\n`);
  console.log(
    "| ranks | sharding | GB of state per rank | compute s | communication s | efficiency |\n|---|---|---|---|---|---|",
  );
  for (const ranks of [8, 64, 256, 1024])
    for (const sharding of ["none", "optimizer", "gradients"]) {
      const { compute, communication } = forecast({ ...of, ranks, sharding });
      const state = stateBytes(of.parameters, ranks, sharding) / 1e9;
      const efficiency = Math.round((100 * compute) / (compute + communication));
      console.log(
        `| ${ranks} | ${sharding} | ${state.toFixed(1)} | ${compute.toFixed(2)} | ${communication.toFixed(2)} | ${efficiency} % |`,
      );
    }
}

/** Prints measured and predicted steps. The rate of a rank follows from the step of one rank. */
function check(path) {
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const cases = lines.filter(({ name }) => name?.startsWith("train step, "));
  const alone = cases.find(({ name }) => name.startsWith("train step, 1 ranks"));
  const [tokens, micro] = [4 * 2 * 256, 4];
  const parameters = alone.millionParameters * 1e6;
  const oneRank = (6 * parameters * tokens) / (alone.milliseconds / 1000);
  console.log("| case | measured s | predicted s |\n|---|---|---|");
  for (const { name, milliseconds, iperfGbitPerSecond } of cases) {
    const [, ranks, sharding, link] = /^train step, (\d) ranks, sharding (\w+)(?:, (\w+) links)?$/.exec(name);
    const cores = lines[0].machine.cores;
    const of = {
      ...{ parameters, sharding, ranks: Number(ranks), tokens: tokens / ranks, micro: micro / ranks },
      rate: oneRank * Math.min(1, cores / ranks), // more ranks than cores share them
      // A link carries what iperf3 measures. Memory carries about 2 GB/s through one thread's copies.
      link: link ? (iperfGbitPerSecond / 8) * 1e9 : 2e9,
      latency: link ? 30e-6 : 3e-6,
      messages: mpiMessages,
      overlap: ranks < cores ? 1 : 0, // without a free core, sums take time from the computation
    };
    const { compute, communication } = forecast(of);
    console.log(
      `| ${name.slice(12)} | ${(milliseconds / 1000).toFixed(2)} | ${(compute + communication).toFixed(2)} |`,
    );
  }
}

const { values } = parseArgs({ options: { check: { type: "string" } } });
if (values.check) check(values.check);
else for (const machine of [H100, CPU]) print(machine);
