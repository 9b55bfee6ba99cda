// A training step of GPT-2 124M. Products and attention are forecast from their machine code. All other kernels count by their bytes.
import { logitGradientLaunches, softmaxLaunches } from "./logits.mjs";
import { productLaunch } from "./products.mjs";
import { attention, attentionBackward, embeddingGradientLaunches } from "./rows.mjs";

const [SEQUENCES, LENGTH, LAYERS, WIDTH, HEADS, VOCABULARY] = [16, 1024, 12, 768, 12, 50304]; // lib/bench/suites/train.ts
const ROWS = SEQUENCES * LENGTH;
/** Inputs and outputs of a layer's four products: queries, keys and values; the output of attention; the two of the MLP. */
const MATRICES = [
  [WIDTH, 3 * WIDTH],
  [WIDTH, WIDTH],
  [WIDTH, 4 * WIDTH],
  [4 * WIDTH, WIDTH],
];
const PARAMETERS =
  LAYERS * (MATRICES.reduce((sum, [from, to]) => sum + from * to + to, 0) + 4 * WIDTH) +
  (VOCABULARY + LENGTH + 2) * WIDTH;

/** A kernel that is limited by memory: `elements` of `bytes` bytes, `count` times. */
const memory = (note, count, elements, bytes = 2) => ({ note, count, dram: elements * bytes });

/** The parts of a weight's gradient: the split of fewest clocks, as with_warpgroup_splits of choice.h finds it. */
function partsOf(card, m, n) {
  const [tiles, stages] = [Math.ceil(m / 128) * Math.ceil(n / 256), ROWS / 64];
  const clocks = (parts) =>
    Math.ceil((tiles * parts) / card.multiprocessors) * (Math.ceil(stages / parts) * 1024 + 4000) +
    (parts > 1 ? 3000 + ((parts + 1) * 4 * m * n) / 1800 : 0);
  const isPossible = (parts) => {
    const part = Math.ceil(stages / parts);
    return part >= 8 && Math.ceil(stages / part) === parts && parts * m * n * 4 <= 64 << 20;
  };
  const possible = Array.from({ length: 16 }, (_, i) => i + 1).filter((parts) => parts === 1 || isPossible(parts));
  return possible.reduce((best, parts) => (clocks(parts) < clocks(best) ? parts : best));
}

/** The launches of the gradient (m, n) of a weight, summed over all rows. */
function weightGradient(card, m, n, count) {
  const parts = card.code === "90a" ? partsOf(card, m, n) : 1;
  const product = productLaunch(card, m, n, ROWS, { layout: "TN", outputBytes: 4, parts });
  return [
    { ...product, count },
    ...(parts > 1 ? [memory("sums of the parts of gradients", count, (parts + 1) * m * n, 4)] : []),
  ];
}

/**
 * A step of 16 sequences of 1024 tokens in bf16, with f32 weights, gradients and moments. The instructions of epilogues with an activation, or
 * that add to a matrix, are not counted, only their bytes.
 */
export function trainStep(card) {
  const shape = { batch: SEQUENCES, length: LENGTH, heads: HEADS, width: WIDTH / HEADS };
  const times = (launches, count = LAYERS) => launches.map((one) => ({ ...one, count: count * (one.count ?? 1) }));
  const rows = ROWS * WIDTH;
  const width = Math.floor((128 << 20) / ROWS / 256) * 256; // strip_entries of token_logprob.cu
  const strips = VOCABULARY / width;
  const operands = { rows: ROWS, vocabulary: VOCABULARY, width: WIDTH };
  const launches = [
    memory("weights rounded to bf16", 4 * LAYERS + 2, PARAMETERS / (4 * LAYERS + 2), 6),
    memory("embeddings", 3, rows, 6),
    memory("norms", 2 * LAYERS + 1, rows, 8),
    ...MATRICES.flatMap(([from, to]) => [
      // The activation's product stores its sums too.
      {
        ...productLaunch(card, ROWS, to, from, { layout: "NN", outputBytes: to === 4 * WIDTH ? 4 : 2 }),
        count: LAYERS,
      },
      { ...productLaunch(card, ROWS, from, to), count: LAYERS },
      ...weightGradient(card, from, to, LAYERS),
    ]),
    memory("queries, keys and values apart and together", 2 * LAYERS, 6 * rows),
    ...times(attention(card, shape).launches),
    ...times(attentionBackward(card, shape).launches),
    memory("sums of columns, for the gradients of biases", 4 * LAYERS, (9 / 4) * rows),
    memory("gradient of the activation function", LAYERS, 12 * rows),
    memory("gradients of norms", 2 * LAYERS + 1, rows, 8),
    ...softmaxLaunches(card, operands),
    ...logitGradientLaunches(card, operands, width),
    { ...productLaunch(card, ROWS, WIDTH, width, { layout: "NN", outputBytes: 4 }), count: strips },
    memory("sums of the hidden rows' gradient, read", strips, rows, 4),
    ...weightGradient(card, width, WIDTH, strips),
    ...embeddingGradientLaunches({
      ...{ vocabulary: VOCABULARY, width: WIDTH, tokens: ROWS },
      ...{ distinct: ROWS / 4, inPlace: true }, // added to the gradient of the logits' weight
    }),
    ...embeddingGradientLaunches({ vocabulary: LENGTH, width: WIDTH, tokens: ROWS, distinct: LENGTH }),
    memory("norm of the gradient", 1, PARAMETERS, 4),
    memory("AdamW", 4 * LAYERS + 2, PARAMETERS / (4 * LAYERS + 2), 28),
  ];
  return {
    title: `training step of GPT-2 124M, ${SEQUENCES} x ${LENGTH} tokens`,
    bench: ["train step GPT-2 124M bf16"],
    rate: { unit: "tokens/s", amount: ROWS },
    launches,
  };
}
