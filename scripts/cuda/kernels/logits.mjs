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
