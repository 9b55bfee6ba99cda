import { compile, type Executable, type FloatDType, type Tensor, type Value } from "../../graph/index.ts";
import { rowInputs, sequenceForward } from "../../models/forward.ts";
import type { Model } from "../../models/model.ts";
import { type AnsweredPrompt, answerRows, targetLogprobs } from "./sequences.ts";

export interface ScorerOptions {
  /** Sequences of one run. */
  sequences: number;
  sequenceLength: number;
  dtype: FloatDType;
  /** Names of the adapters that take part; default: those active now. */
  adapters?: readonly string[] | undefined;
  /** Tensors that stand in for the model's of the same names: a snapshot. */
  tensors?: ReadonlyMap<string, Tensor> | undefined;
  /** Divides the logits, as the sampler does. Default 1. */
  temperature?: number | undefined;
}

/** Log-probabilities of answers under a model, without gradients; batch × vocabulary floats are never in memory. */
export class AnswerScorer {
  private readonly options: ScorerOptions;
  private readonly positions: Int32Array;
  private readonly executable: Executable<{ logprobs: Value }>;

  constructor(model: Model, options: ScorerOptions) {
    this.options = options;
    const { sequences, sequenceLength, dtype, adapters, temperature = 1, tensors = new Map() } = options;
    const rows = sequences * sequenceLength;
    this.positions = Int32Array.from({ length: rows }, (_, i) => i % sequenceLength);
    const program = compile(() => {
      const { hidden, head } = sequenceForward(model, rowInputs(rows), { sequenceLength, dtype, adapters });
      return { logprobs: targetLogprobs({ hidden, head: tempered(head, temperature) }) };
    });
    this.executable = program.bind(model.device, new Map([...model.tensors, ...tensors]));
  }

  /** Of each answer's tokens, in order. */
  async tokens(answers: readonly AnsweredPrompt[], signal?: AbortSignal): Promise<Float32Array[]> {
    const { sequences, sequenceLength } = this.options;
    const out: Float32Array[] = [];
    for (let i = 0; i < answers.length; i += sequences) {
      const part = Array.from({ length: sequences }, (_, k) => answers[i + k]);
      const { inputs, placements } = answerRows(part, sequenceLength);
      const { ids, targets } = inputs;
      const { logprobs } = await this.executable.run({ ids, targets, positions: this.positions }, { signal });
      for (const placement of placements)
        if (placement) out.push((logprobs as Float32Array).slice(placement.first, placement.first + placement.count));
    }
    return out;
  }

  /** Of each whole answer. */
  async sums(answers: readonly AnsweredPrompt[], signal?: AbortSignal): Promise<number[]> {
    const tokens = await this.tokens(answers, signal);
    // As segment_sum adds them: a policy that is the reference is then as likely to the last bit.
    return tokens.map((logprobs) => logprobs.reduce((s, v) => Math.fround(s + v), 0));
  }

  dispose(): void {
    this.executable.dispose();
  }
}

/** A head whose logits are divided by a temperature, after its soft cap. */
export function tempered<Head extends { scale?: number | undefined; softcap?: number | undefined }>(
  head: Head,
  temperature: number,
): Head {
  if (temperature === 1) return head;
  const { scale = 1, softcap } = head;
  // (c / T) · tanh((s / T) x / (c / T)) = c · tanh(s x / c) / T
  return { ...head, scale: scale / temperature, ...(softcap && { softcap: softcap / temperature }) };
}
