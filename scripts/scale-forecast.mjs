// Predicts the time of a training step on many ranks from bytes, latencies and assumed rates. Prints the assumptions and tables, of which
// docs/scale.md has a part.
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
 * @param of.overlap by sharding: share of a computation that can hide the exchange that goes on meanwhile, from 0 to 1. With `none` and
 * `optimizer` it is a step's last backward pass, with `gradients` every backward pass, with `parameters` the whole step
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
  overlap = {},
  ...of
}) {
  const compute = (6 * parameters * tokens) / rate;
  const share = overlap[sharding] ?? 0;
  if (ranks === 1) return { compute, communication: 0 };
  // A reduce-scatter or an all-gather moves (N - 1) / N of the bytes through every rank's link. An all-reduce is both.
  const link = sharding === "none" ? of.link : (of.partsLink ?? of.link);
  const pass = (((ranks - 1) / ranks) * BYTES * parameters) / link + messages(ranks, parameters) * latency;
  if (sharding === "parameters") {
    // Every micro-batch collects the weights for its forward and its backward pass, and sums the gradients.
    const volume = (bytes) => (((ranks - 1) / ranks) * bytes * parameters) / link;
    const each = volume(BYTES) + 2 * volume(of.weightBytes ?? BYTES) + 3 * messages(ranks, parameters) * latency;
    return { compute, communication: micro * each - Math.min(micro * each, share * compute) };
  }
  // Passes over the gradients, and passes over the updated weights.
  const [gradients, weights] = { none: [2, 0], optimizer: [1, 1], gradients: [micro, 1] }[sharding];
  const backward = ((2 / 3) * compute) / (sharding === "gradients" ? 1 : micro);
  const hidden = Math.min(gradients * pass, share * backward);
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

/** Share of a backward pass that can hide an exchange. The last gradients have nothing to hide behind. */
const SHARE = 0.9;

const FOR_ALL = [
  "The computation takes 6 operations per parameter and token. A backward pass is two thirds of it.",
  "A pass over the gradients or the weights takes bytes × (ranks - 1) / ranks / bandwidth, plus the latency of its messages. An all-reduce is two passes.",
];
const H100 = {
  title: "H100 nodes of 8 GPUs with 8 × 400 Gbit/s, NCCL, steps in bf16",
  memory: 64e9,
  tokens: 8192,
  rate: 400e12,
  link: 370e9,
  partsLink: 185e9,
  latency: 5e-6,
  messages: ncclMessages,
  weightBytes: 2,
  overlap: { none: SHARE, optimizer: SHARE },
  assumptions: ({ memory, rate, link, partsLink, latency, weightBytes, overlap }) => [
    `A GPU reaches ${rate / 1e12} TFLOP/s, which is ${Math.round((100 * rate) / 989e12)} % of the data sheet's 989 TFLOP/s.`,
    `An all-reduce sends ${link / 1e9} GB/s per GPU. That is the bus bandwidth of NCCL's all-reduce on such nodes.`,
    `A reduce-scatter or an all-gather sends ${partsLink / 1e9} GB/s, because it is a group of ncclReduce or ncclBroadcast with many roots.`,
    `An operation takes ${micros(latency)} µs per level of NCCL's trees, whose depth is log2(ranks). A pass has one for each of 290 tensors.`,
    `Ranks exchange gradients in ${BYTES} bytes, and with \`parameters\` weights in ${weightBytes} bytes.`,
    `Sums of \`none\` and \`optimizer\` hide behind ${100 * overlap.none} % of the backward pass. \`gradients\` and \`parameters\` hide nothing, because the computation's stream runs their calls of NCCL too.`,
    `The state fits if it takes at most ${memory / 1e9} of 80 GB, because intermediate values need memory too.`,
  ],
};
const CPU = {
  title: "one rank per CPU, 100 Gbit/s, MPI",
  memory: Number.POSITIVE_INFINITY,
  tokens: 8192,
  rate: 3e12,
  link: 2e9,
  latency: 3e-6,
  messages: mpiMessages,
  overlap: { none: SHARE, optimizer: SHARE, gradients: SHARE, parameters: SHARE },
  assumptions: ({ rate, link, latency, overlap }) => [
    `A CPU reaches ${rate / 1e12} TFLOP/s.`,
    `A rank sends ${link / 1e9} of the link's 12.5 GB/s, because one thread copies and adds.`,
    `A message takes ${micros(latency)} µs. Ranks exchange chunks of 2 MiB, or of 32 KiB per rank if that is more, by one message to every other rank.`,
    `Ranks exchange gradients and weights in ${BYTES} bytes.`,
    `Exchanges hide behind ${100 * overlap.none} % of the computation that goes on meanwhile. That is the last micro-batch's backward pass with \`none\` and \`optimizer\`, every backward pass with \`gradients\`, and the whole step with \`parameters\`.`,
  ],
};

const TABLES = [
  [H100, { title: "8B parameters, 8,192 tokens per GPU", parameters: 8e9 }],
  [H100, { title: "3B parameters, 8,192 tokens per GPU", parameters: 3e9 }],
  [CPU, { title: "1.1B parameters, 8 micro-batches of 1,024 tokens per rank", parameters: 1.1e9, micro: 8 }],
];

const micros = (seconds) => Number((seconds * 1e6).toPrecision(6));
const list = (lines) => console.log(lines.map((line) => `* ${line}`).join("\n"));

function print() {
  console.log("Assumptions\n");
  list(FOR_ALL);
  let machine;
  for (const [on, { title, ...model }] of TABLES) {
    if (on !== machine) {
      console.log(`\n${on.title}\n`);
      list(on.assumptions(on));
    }
    machine = on;
    console.log(`\n${title}\n`);
    console.log(
      "| ranks | `sharding` | GB of state per rank | compute s | communication s | efficiency |\n|---|---|---|---|---|---|",
    );
    for (const ranks of [8, 64, 256, 1024])
      for (const sharding of ["none", "optimizer", "gradients", "parameters"])
        console.log(`| ${rowOf({ ...on, ...model, ranks, sharding }).join(" | ")} |`);
  }
}

function rowOf({ memory, ...of }) {
  const { parameters, ranks, sharding } = of;
  const state = stateBytes(parameters, ranks, sharding);
  const begin = [ranks.toLocaleString("en-US"), `\`${sharding}\``, (state / 1e9).toFixed(1)];
  if (state > memory) return [...begin, "does not fit", "", ""];
  const { compute, communication } = forecast(of);
  const efficiency = `${Math.round((100 * compute) / (compute + communication))} %`;
  return [...begin, compute.toFixed(2), communication.toFixed(2), efficiency];
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
      overlap: {
        [sharding]: (overlapped || ["gradients", "parameters"].includes(sharding)) && ranks < cores ? 1 : 0,
      },
    };
    const { compute, communication } = forecast(of);
    console.log(
      `| ${name.slice(12)} | ${(milliseconds / 1000).toFixed(2)} | ${(compute + communication).toFixed(2)} |`,
    );
  }
}

const { values } = parseArgs({ options: { check: { type: "string" } } });
if (values.check) check(values.check);
else print();
