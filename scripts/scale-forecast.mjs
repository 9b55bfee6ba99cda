// Predicts the time of a training step on many ranks from bytes, latencies and assumed rates, and prints tables. docs/scale.md has a part of them.
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
 * @param of.link bytes per second that a rank sends in an all-reduce
 * @param of.partsLink the same for a reduce-scatter and an all-gather. Default: `link`
 * @param of.latency seconds that a message takes, of which `of.messages` are sent one after another in a pass over the parameters
 * @param of.overlap share of the computation that can hide the exchange that goes on meanwhile, from 0 to 1: with `none` and `optimizer` of
 * a step's last backward pass, with `gradients` of every backward pass, with `parameters` of the whole step
 * @param of.weightBytes bytes of an element of the weights that ranks collect with `parameters`. Default: 4
 * @returns seconds of computation and of visible communication
 */
export function forecast({
  parameters,
  tokens,
  micro = 1,
  rate,
  latency,
  messages,
  ranks,
  sharding,
  overlap = 0,
  ...of
}) {
  const compute = (6 * parameters * tokens) / rate;
  if (ranks === 1) return { compute, communication: 0 };
  // A reduce-scatter or an all-gather moves (N - 1) / N of the bytes through every rank's link. An all-reduce is both.
  const link = sharding === "none" ? of.link : (of.partsLink ?? of.link);
  const pass = (((ranks - 1) / ranks) * BYTES * parameters) / link + messages(ranks, parameters) * latency;
  if (sharding === "parameters") {
    // Every micro-batch collects the weights for its forward and its backward pass, and sums the gradients.
    const volume = (bytes) => (((ranks - 1) / ranks) * bytes * parameters) / link;
    const each = volume(BYTES) + 2 * volume(of.weightBytes ?? BYTES) + 3 * messages(ranks, parameters) * latency;
    return { compute, communication: micro * each - Math.min(micro * each, overlap * compute) };
  }
  // Passes over the gradients, and passes over the updated weights.
  const [gradients, weights] = { none: [2, 0], optimizer: [1, 1], gradients: [micro, 1] }[sharding];
  const backward = ((2 / 3) * compute) / (sharding === "gradients" ? 1 : micro);
  const hidden = Math.min(gradients * pass, overlap * backward);
  return { compute, communication: (gradients + weights) * pass - hidden };
}

/**
 * Bytes per rank for weights, gradients and AdamW's moments.
 */
export function stateBytes(parameters, ranks, sharding) {
  const whole = { none: 16, optimizer: 8, gradients: 4, parameters: 0 }[sharding];
  return parameters * (whole + (16 - whole) / ranks);
}

/** RankGroup exchanges chunks of 2 MiB, or 32 KiB per rank if that is more, by one message to every other rank. */
const mpiMessages = (ranks, parameters) =>
  Math.ceil((BYTES * parameters) / Math.max(2 ** 21, 2 ** 15 * ranks)) * (ranks - 1);
/** One operation for each of about 290 tensors. NCCL's trees have a depth of log2(ranks). */
const ncclMessages = (ranks) => 290 * Math.log2(ranks);

const H100 = {
  title: "8B parameters, 8,192 tokens per GPU, H100 nodes of 8 GPUs with 8 x 400 Gbit/s, NCCL",
  memory: 80e9,
  parameters: 8e9,
  tokens: 8192,
  rate: 400e12, // 40 % of the data sheet's 989e12 in bf16
  link: 370e9, // of NCCL's all-reduce on such nodes
  partsLink: 185e9, // half of it: groups of ncclReduce and ncclBroadcast with many roots
  latency: 5e-6,
  messages: ncclMessages,
  weightBytes: 2, // steps in bf16
};
const CPU = {
  title: "1.1B parameters, 8 micro-batches of 1,024 tokens per rank, one rank per CPU of 3e12 FLOP/s, 100 Gbit/s, MPI",
  memory: Number.POSITIVE_INFINITY,
  parameters: 1.1e9,
  tokens: 8192,
  micro: 8,
  rate: 3e12,
  link: 2e9, // of 12.5e9: one thread copies and adds
  latency: 3e-6,
  messages: mpiMessages,
  overlap: 0.9, // each micro-batch's last gradients have nothing to hide behind
};

function print({ title, memory, ...of }) {
  console.log(`\n${title}\n`);
  console.log(
    "| ranks | `sharding` | GB of state per rank | compute s | communication s | efficiency |\n|---|---|---|---|---|---|",
  );
  for (const ranks of [8, 64, 256, 1024])
    for (const sharding of ["none", "optimizer", "gradients", "parameters"]) {
      const state = stateBytes(of.parameters, ranks, sharding);
      const row = (...cells) =>
        console.log(`| ${[ranks, `\`${sharding}\``, (state / 1e9).toFixed(1), ...cells].join(" | ")} |`);
      // Intermediate values need memory too, so the state may take at most four fifths.
      if (state > 0.8 * memory) row("does not fit", "", "");
      else {
        const { compute, communication } = forecast({ ...of, ranks, sharding });
        row(
          compute.toFixed(2),
          communication.toFixed(2),
          `${Math.round((100 * compute) / (compute + communication))} %`,
        );
      }
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
    const [, ranks, sharding, overlapped, link] =
      /^train step, (\d) ranks, sharding (\w+)(, overlapped)?(?:, (\w+) links)?$/.exec(name);
    const cores = lines[0].machine.cores;
    const of = {
      ...{ parameters, sharding, ranks: Number(ranks), tokens: tokens / ranks, micro: micro / ranks },
      rate: oneRank * Math.min(1, cores / ranks), // more ranks than cores share them
      // A link carries what iperf3 measures. Memory carries about 2 GB/s through one thread's copies.
      link: link ? (iperfGbitPerSecond / 8) * 1e9 : 2e9,
      latency: link ? 30e-6 : 3e-6,
      messages: mpiMessages,
      // Without a free core, the exchange takes time from the computation.
      overlap: (overlapped || ["gradients", "parameters"].includes(sharding)) && ranks < cores ? 1 : 0,
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
