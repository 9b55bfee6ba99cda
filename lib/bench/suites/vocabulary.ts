import {
  compile,
  type Device,
  gatherRows,
  gradients,
  type Inputs,
  input,
  SAMPLE_PARAMS,
  sample,
  sum,
  type Tensor,
  tensor,
  tokenLogprob,
} from "../../graph/index.ts";
import { type FilledDType, filled, runSeconds } from "../ceilings.ts";
import type { BenchSuite } from "../types.ts";

interface Sizes {
  /** Positions of the log-probabilities. */
  rows: number;
  width: number;
  vocabulary: number;
}
/** Llama 3's vocabulary on a GPU, Llama 2's on a processor. */
const SIZES: Record<Device["kind"] | "quick", Sizes> = {
  cuda: { rows: 8192, width: 2048, vocabulary: 128_256 },
  cpu: { rows: 512, width: 576, vocabulary: 32_000 },
  quick: { rows: 16, width: 64, vocabulary: 512 },
};
/** Sequences that are decoded at once. */
const SEQUENCES = 8;

/** Ops over the whole vocabulary: log-probabilities of tokens, as in training and in scoring, and sampling. */
export const vocabularySuite: BenchSuite = async function* ({ device, quick }) {
  const sizes = SIZES[quick ? "quick" : device.kind];
  yield* logprobCases(device, sizes, quick);
  yield* sampleCase(device, sizes.vocabulary, quick);
};

/**
 * Yields two cases: the forward pass alone, and the forward and backward passes together. Like training, the second case computes the
 * gradients of the hidden states and of the output matrix.
 */
async function* logprobCases(
  device: Device,
  { rows, width, vocabulary }: Sizes,
  quick: boolean,
): ReturnType<BenchSuite> {
  const dtype: FilledDType = "bf16";
  const tensors = new Map<string, Tensor>([
    ["hidden", await filled(device, dtype, [rows, width])],
    ["head", await filled(device, dtype, [vocabulary, width])],
  ]);
  const targets = Int32Array.from({ length: rows }, (_, i) => (i * 7919) % vocabulary);
  for (const backward of [false, true]) {
    const program = compile(() => {
      const [hidden, head] = [tensor("hidden", dtype, [rows, width]), tensor("head", dtype, [vocabulary, width])];
      const total = sum(tokenLogprob(hidden, head, input("targets", "i32", [rows])).logprob);
      if (!backward) return { total };
      const all = gradients(total, [hidden, head], input("seed", "f32", [1]));
      // Read back only one row of each gradient, so that copying them is not timed.
      return Object.fromEntries(all.map((value, i) => [`row${i}`, gatherRows(value, input(`at${i}`, "i32", [1]))]));
    });
    const inputs: Inputs = backward
      ? { targets, seed: Float32Array.of(1), at0: Int32Array.of(0), at1: Int32Array.of(0) }
      : { targets };
    const executable = program.bind(device, tensors);
    // Count the matrix products of the logits and of both gradients, but not the logits that the backward pass computes again.
    const flops = (backward ? 6 : 2) * rows * width * vocabulary;
    const repeat = quick || device.kind === "cpu" ? 1 : 2;
    yield {
      name: `log-probabilities ${backward ? "forward+backward" : "forward"} ${dtype} ${rows}x${width} V${vocabulary}`,
      unit: "GFLOP/s",
      work: (flops * repeat) / 1e9,
      bound: { ceiling: dtype, amount: flops * repeat },
      run: () => runSeconds(executable, inputs, repeat),
    };
    executable.dispose();
  }
  for (const t of tensors.values()) t.dispose();
}

/** Yields sampling with a temperature and top-p, the settings of most published models. */
async function* sampleCase(device: Device, vocabulary: number, quick: boolean): ReturnType<BenchSuite> {
  const logits = await filled(device, "f32", [SEQUENCES, vocabulary]);
  const columns: Record<(typeof SAMPLE_PARAMS)[number], number> = {
    temperature: 0.7,
    topK: 0,
    topP: 0.9,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    promptLength: 0,
    historyLength: 0,
  };
  const row = SAMPLE_PARAMS.map((name) => columns[name]);
  const program = compile(() => {
    const { token } = sample({
      logits: tensor("logits", "f32", [SEQUENCES, vocabulary]),
      params: input("params", "f32", [SEQUENCES, SAMPLE_PARAMS.length]),
      history: input("history", "i32", [SEQUENCES, 1]),
      biasIds: input("biasIds", "i32", [SEQUENCES, 1]),
      biasValues: input("biasValues", "f32", [SEQUENCES, 1]),
      rng: input("rng", "i32", [SEQUENCES, 3]),
    });
    return { token };
  });
  const executable = program.bind(device, new Map([["logits", logits]]));
  const inputs: Inputs = {
    params: Float32Array.from(Array.from({ length: SEQUENCES }, () => row).flat()),
    history: new Int32Array(SEQUENCES),
    biasIds: new Int32Array(SEQUENCES).fill(-1),
    biasValues: new Float32Array(SEQUENCES),
    rng: Int32Array.from({ length: 3 * SEQUENCES }, (_, i) => i),
  };
  const repeat = quick ? 1 : 16;
  yield {
    name: `sample top-p ${SEQUENCES}x${vocabulary}`,
    unit: "tokens/s",
    work: SEQUENCES * repeat,
    bound: { ceiling: "read", amount: 4 * SEQUENCES * vocabulary * repeat },
    run: () => runSeconds(executable, inputs, repeat),
  };
  executable.dispose();
  logits.dispose();
}
