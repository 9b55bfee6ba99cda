// The kernels and shapes of the forecast: which kernel a launch runs, its grid, and the work that the shape needs. These numbers repeat the
// launch code of native/cuda. Everything else comes from the cubin.
import { benchedDecode, benchedPrompt, benchedSampling, decodeStep, sampling } from "./kernels/generation.mjs";
import { benchedLogits, cappedGradient, crossEntropy, logitGradient, uncappedGradient } from "./kernels/logits.mjs";
import {
  decodedProduct,
  expertProduct,
  fp8Product,
  gemv,
  gemvChain,
  integerProduct,
  olderProduct,
  product,
  roundedChain,
} from "./kernels/products.mjs";
import {
  adamw,
  add,
  attention,
  attentionBackward,
  attentionBoth,
  embeddingGradient,
  gatedGradient,
  normGradient,
  promptChunk,
  softmax,
  vectors,
} from "./kernels/rows.mjs";
import { trainStep } from "./kernels/training.mjs";

/**
 * @typedef {object} Launch
 * @property {string} source file in native/cuda without ".cu"
 * @property {RegExp} kernel matches the mangled name of one kernel
 * @property {number} [count] how many such launches there are. Default 1
 * @property {number} blocks, threads
 * @property {number} [shared] dynamic shared memory in bytes. Default 0
 * @property {{ warps: number, path?: object, totals?: object, outer?: number, tensor?: number, shared?: number, l2?: number, mark?: string, isInStep?: boolean }[]} roles
 *   the parameters of segmentsOf and predict. `path` and `totals` count per warp
 * @property {number} dram bytes
 * @property {number} [l2] bytes
 * @property {boolean} [waits] whether the kernel starts before the one before it has ended
 *
 * @typedef {object} Case
 * @property {string} title
 * @property {string[]} [bench] names of the case in lib/bench
 * @property {{ unit: "TFLOP/s" | "TB/s" | "tokens/s" | "ms", amount?: number }} rate unit of the result, and 10^12 operations or bytes, or tokens
 * @property {Launch[]} launches
 */

/** Returns the cases for a card. @returns {Case[]} */
export const casesFor = (card) => [
  product(card, 4096),
  product(card, 8192),
  ...(card.code === "90a" ? [fp8Product(card, 8192), olderProduct(card, 8192)] : []),
  decodedProduct(card),
  decodedProduct(card, { prompt: true }),
  integerProduct(),
  expertProduct(),
  ...["bf16", "q8_0", "q4_k"].flatMap((format) =>
    [
      [4096, 4096],
      [14336, 4096],
      [4096, 14336],
      [8192, 8192],
    ].map(([n, k]) => gemv(card, format, n, k)),
  ),
  ...["bf16", "q8_0", "q4_k"].flatMap((format) => [4096, 14336].map((n) => gemvChain(card, format, n, 4096))),
  roundedChain(card),
  attention(card, { batch: 8, length: 2048 }),
  attention(card, { batch: 1, length: 16384 }),
  attentionBackward(card, { batch: 1, length: 16384 }),
  ...[
    { batch: 8, length: 2048 },
    { batch: 1, length: 16384 },
  ].map((shape) => attentionBoth(card, shape)),
  promptChunk(card),
  promptChunk(card, { heads: 64 }),
  ...(card.code === "90a" ? [32, 64].map((heads) => promptChunk(card, { heads, store: "f16" })) : []),
  crossEntropy(card),
  benchedLogits(card),
  logitGradient(card),
  uncappedGradient(card),
  cappedGradient(card),
  adamw(),
  vectors("rms_norm"),
  normGradient(),
  add("add"),
  add("swiglu"),
  gatedGradient(),
  softmax(65536, 2048),
  softmax(8192, 131072),
  embeddingGradient(50257, 768, 16384),
  embeddingGradient(131072, 4096, 16384),
  sampling(),
  benchedSampling(),
  decodeStep(card, "bf16"),
  decodeStep(card, "q4_k"),
  ...["bf16", "q8_0", "q4_0"].map(benchedDecode),
  benchedPrompt(card),
  ...(card.code === "90a" ? [trainStep(card)] : []),
];
