import { SAMPLE_PARAMS } from "../graph/index.ts";
import type { Sequence } from "./sequence.ts";

/**
 * The sampler's inputs for some sequences, a row each. The draw depends on (seed, position) alone, so the same seed draws
 * the same tokens whatever runs beside.
 * @param historyLimit most ids that penalties look back on
 */
export function samplingInputs(sequences: readonly Sequence[], historyLimit: number) {
  const rows = sequences.length;
  const histories = sequences.map((s) => penalised(s, historyLimit));
  const columns = Math.max(1, ...histories.map((h) => h.ids.length));
  const biases = Math.max(1, ...sequences.map((s) => s.options.biasIds.length));
  const params = new Float32Array(rows * SAMPLE_PARAMS.length);
  const history = new Int32Array(rows * columns);
  const biasIds = new Int32Array(rows * biases).fill(-1);
  const biasValues = new Float32Array(rows * biases);
  const rng = new Int32Array(rows * 3);
  for (const [row, sequence] of sequences.entries()) {
    const { options, seed } = sequence;
    const { ids, promptLength } = histories[row]!;
    const values: Record<(typeof SAMPLE_PARAMS)[number], number> = {
      temperature: options.temperature,
      topK: options.topK,
      topP: options.topP,
      minP: options.minP,
      repetitionPenalty: options.repetitionPenalty,
      presencePenalty: options.presencePenalty,
      frequencyPenalty: options.frequencyPenalty,
      promptLength,
      historyLength: ids.length,
    };
    params.set(
      SAMPLE_PARAMS.map((name) => values[name]),
      row * SAMPLE_PARAMS.length,
    );
    history.set(ids, row * columns);
    biasIds.set(options.biasIds, row * biases);
    biasValues.set(options.biasValues, row * biases);
    rng.set([seed | 0, Math.floor(seed / 2 ** 32) | 0, sequence.ids.length], row * 3);
  }
  return { params, history, biasIds, biasValues, rng };
}

/** The ids that penalties count; none where no penalty is set. */
function penalised({ options, ids, promptLength }: Sequence, limit: number) {
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = options;
  if (repetitionPenalty !== 1) {
    const start = Math.max(0, ids.length - limit);
    return { ids: ids.slice(start), promptLength: Math.max(0, promptLength - start) };
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0)
    return { ids: ids.slice(Math.max(promptLength, ids.length - limit)), promptLength: 0 };
  return { ids: [], promptLength: 0 };
}
