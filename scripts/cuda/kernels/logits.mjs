// Cross-entropy: token_logprob and the gradient of its logits. Numbers repeat the launch code in native/cuda/logits.
import { productLaunch } from "./products.mjs";

const OPERANDS = { rows: 8192, vocabulary: 131072, width: 4096 };
const titleOf = ({ rows, vocabulary, width }) => `${rows} x ${vocabulary}, width ${width}`;
const rate = { unit: "TFLOP/s", amount: (2 * OPERANDS.rows * OPERANDS.vocabulary * OPERANDS.width) / 1e12 };

/** The launches of token_logprob: the softmax of each tile of logits, and the combination of the parts. */
export function softmaxLaunches(card, { rows, vocabulary, width }) {
  const wide = card.code === "90a";
  const tile = wide ? 256 : 128;
  const parts = Math.ceil(vocabulary / tile);
  const end = wide
    ? {
        source: "logits/logits_sm90",
        kernel: /tensor_warpgroup_softmax_kernel.*RingILi256E/,
        shared: 4 * 49152 + 1024,
        path: { MUFU: 128 },
      }
    : {
        source: "logits/logits_tensor",
        kernel: /tensor_softmax_kernel.*TileILi128ELi128ELi2ELi4ELi3E/,
        path: { MUFU: 16 },
      };
  const partBytes = 8 * rows * parts;
  const product = productLaunch(card, rows, vocabulary, width, { outputBytes: 0, end });
  return [
    { ...product, dram: product.dram + partBytes },
    {
      source: "logits/combine_parts",
      kernel: /combine_parts_kernel/,
      ...{ blocks: rows / 4, threads: 128 },
      roles: [{ warps: 4, path: { MUFU: 1, CALL: 0 }, totals: { MUFU: parts / 32 } }],
      dram: partBytes,
    },
  ];
}

export const crossEntropy = (card) => ({
  title: `token_logprob ${titleOf(OPERANDS)}`,
  rate,
  launches: softmaxLaunches(card, OPERANDS),
});

/** The case of `heddle bench`. */
export function benchedLogits(card) {
  const operands = { rows: 8192, vocabulary: 128256, width: 2048 };
  return {
    title: `token_logprob ${titleOf(operands)}`,
    bench: ["log-probabilities forward bf16 8192x2048 V128256"],
    rate: { unit: "TFLOP/s", amount: (2 * operands.rows * operands.vocabulary * operands.width) / 1e12 },
    launches: softmaxLaunches(card, operands),
  };
}

/** The launches of the gradient of the logits, for strips of `entries` of the vocabulary. Its two products are not part of it. */
export function logitGradientLaunches(card, { rows, vocabulary, width }, entries) {
  const end =
    card.code === "90a"
      ? {
          source: "logits/logits_sm90",
          kernel: /tensor_warpgroup_logit_gradient_kernel.*RingTileILi256E/,
          shared: 3 * 49152 + 65536 + 1024,
          path: { MUFU: 128, STS: 64, UTMASTG: 4 },
        }
      : {
          source: "logits/logits_tensor",
          kernel: /tensor_logit_gradient_kernel.*TileILi128ELi128ELi2ELi4ELi3E/,
          path: { MUFU: 16, STS: 8, STG: 4 },
        };
  return [{ ...productLaunch(card, rows, entries, width, { end }), count: vocabulary / entries }];
}

/** The gradient of the logits in bf16, for the strips of token_logprob_with_gradient. */
export function logitGradient(card) {
  const entries = Math.floor((128 << 20) / OPERANDS.rows / 256) * 256; // strip_entries of token_logprob.cu
  return {
    title: `gradient of logits ${titleOf(OPERANDS)}`,
    rate,
    launches: logitGradientLaunches(card, OPERANDS, entries),
  };
}

const GEMMA = { rows: 8192, vocabulary: 256000, width: 2304 };
const withProducts = ({ rows, vocabulary, width }) => ({
  unit: "TFLOP/s",
  amount: (6 * rows * vocabulary * width) / 1e12,
});

/** A product on CUDA cores with a left operand in f32 and a right one in bf16 (gemm_kernel of gemm.cu). c (m, n) is f32. */
function multiplyAddLaunch(m, n, k, { accumulates = false } = {}) {
  const [side, depth, threads] = [64, 32, 256];
  const tiles = (m / side) * (n / side);
  // A thread copies eight elements of each operand for a stage. Both loops have the same instructions, and one counts for both.
  const copies = (2 * side * depth) / threads;
  return {
    source: "gemm/gemm",
    kernel: /[^\d]11gemm_kernelE/,
    ...{ blocks: tiles, threads },
    roles: [
      {
        warps: 8,
        path: { FFMA: 32, "STS.32": 2, "LDG.32": 2, "STG.32": 1, CALL: 0 },
        totals: { FFMA: 16 * k, "STS.32": (copies * k) / depth, "STG.32": 16 },
        outer: k / depth,
      },
    ],
    dram: 4 * m * k + 2 * k * n + (accumulates ? 8 : 4) * m * n,
    l2: tiles * side * k * (4 + 2) + 4 * m * n,
  };
}

/**
 * The gradient of a head with a soft cap, and both its products, with the shapes of Gemma 2 2B. The logits of a part of the vocabulary are in memory
 * in f32 (stored_logits.cu). Tensor cores multiply them. Their gradients are not rounded, so CUDA cores multiply those.
 */
export function cappedGradient(card) {
  const { rows, vocabulary, width } = GEMMA;
  const entries = Math.floor((16 << 20) / rows / 64) * 64; // part_size of stored_logits.cu
  const count = vocabulary / entries;
  return {
    title: `gradient of capped logits and its products ${titleOf(GEMMA)}`,
    rate: withProducts(GEMMA),
    launches: [
      productLaunch(card, rows, entries, width, { outputBytes: 4 }),
      {
        source: "logits/stored_logits",
        kernel: /23logprob_gradient_kernel/,
        ...{ blocks: rows, threads: 256 },
        roles: [{ warps: 8, path: { MUFU: 7, "STG.32": 1, CALL: 0 }, totals: { "STG.32": entries / 256 } }],
        dram: 8 * rows * entries,
      },
      multiplyAddLaunch(rows, width, entries, { accumulates: true }),
      multiplyAddLaunch(entries, width, rows),
    ].map((launch) => ({ ...launch, count })),
  };
}

/** The same without a cap: the gradients of logits are bf16, and tensor cores compute all products. */
export function uncappedGradient(card) {
  const { rows, vocabulary, width } = GEMMA;
  const entries = Math.floor((128 << 20) / rows / 256) * 256; // strip_entries of token_logprob.cu
  const count = vocabulary / entries;
  return {
    title: `gradient of logits and its products ${titleOf(GEMMA)}`,
    rate: withProducts(GEMMA),
    launches: [
      ...logitGradientLaunches(card, GEMMA, entries),
      { ...productLaunch(card, rows, width, entries, { layout: "NN", outputBytes: 4 }), count },
      { note: "sums of the hidden rows' gradient, read", count, dram: 4 * rows * width },
      { ...productLaunch(card, entries, width, rows, { layout: "TN", outputBytes: 4 }), count },
    ],
  };
}
