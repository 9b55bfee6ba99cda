// Cross-entropy: token_logprob and the gradient of its logits. Numbers repeat the launch code in native/cuda/logits.
import { productLaunch } from "./products.mjs";

const [ROWS, VOCABULARY, WIDTH] = [8192, 131072, 4096];
const flops = 2 * ROWS * VOCABULARY * WIDTH;

/** The launches of token_logprob: the softmax of each tile of logits, and the combination of the parts. */
function softmaxLaunches(card) {
  const wide = card.code === "90a";
  const tile = wide ? 256 : 128;
  const stages = card.sharedBytes >= 128 << 10 ? 4 : 3;
  const parts = VOCABULARY / tile;
  const end = wide
    ? {
        source: "logits/logits_sm90",
        kernel: /tensor_warpgroup_softmax_kernel.*RingILi256E/,
        shared: 4 * 49152 + 1024,
        path: { MUFU: 128 },
      }
    : {
        source: "logits/logits_tensor",
        kernel: new RegExp(`tensor_softmax_kernel.*TileILi128ELi128ELi2ELi4ELi${stages}E`),
        path: { MUFU: 16 },
      };
  const partBytes = 8 * ROWS * parts;
  const product = productLaunch(card, ROWS, VOCABULARY, WIDTH, { outputBytes: 0, end });
  return [
    { ...product, dram: product.dram + partBytes },
    {
      source: "logits/combine_parts",
      kernel: /combine_parts_kernel/,
      ...{ blocks: ROWS / 4, threads: 128 },
      roles: [{ warps: 4, path: { MUFU: 1, CALL: 0 }, totals: { MUFU: parts / 32 } }],
      dram: partBytes,
    },
  ];
}

export const crossEntropy = (card) => ({
  title: `token_logprob ${ROWS} x ${VOCABULARY}, width ${WIDTH}`,
  rate: { unit: "TFLOP/s", amount: flops / 1e12 },
  launches: softmaxLaunches(card),
});

/** The gradient of the logits in bf16, for the strips of token_logprob_with_gradient. Its two products are not part of it. */
export function logitGradient(card) {
  const width = Math.floor((48 << 20) / ROWS / 256) * 256; // strip_entries of token_logprob.cu
  const stages = card.sharedBytes >= 128 << 10 ? 4 : 3;
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
          kernel: new RegExp(`tensor_logit_gradient_kernel.*TileILi128ELi128ELi2ELi4ELi${stages}E`),
          path: { MUFU: 16, STS: 8, STG: 4 },
        };
  return {
    title: `gradient of logits ${ROWS} x ${VOCABULARY}, width ${WIDTH}`,
    rate: { unit: "TFLOP/s", amount: flops / 1e12 },
    launches: [{ ...productLaunch(card, ROWS, width, WIDTH, { end }), count: VOCABULARY / width }],
  };
}
