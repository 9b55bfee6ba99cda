import {
  cast,
  compile,
  type Executable,
  type FloatDType,
  type Results,
  reshape,
  type Tensor,
  type Value,
} from "../../graph/index.ts";
import { type Forward, paddedRowInputs, sequenceForward, tempered } from "../../models/forward.ts";
import { valueHeadOutput } from "../../models/heads.ts";
import type { Model } from "../../models/model.ts";
import { type AnsweredPrompt, answerRows, slotsOf, targetLogprobs } from "./sequences.ts";

interface ScorerOptions {
  /** Number of sequences in one run. */
  sequences: number;
  sequenceLength: number;
  dtype: FloatDType;
  /** As in StepShape. */
  fp8?: boolean | undefined;
  /** Names of the adapters to use; default: the active ones. */
  adapters?: readonly string[] | undefined;
  /** Tensors that replace the model's by name: a snapshot. */
  tensors?: ReadonlyMap<string, Tensor> | undefined;
  /** Divisor of the logits, as in the sampler. Default 1. */
  temperature?: number | undefined;
  /** Whether to read the value head too. */
  values?: boolean | undefined;
}

/** A model's scores of an answer's tokens, in order. */
export interface ScoredAnswer {
  logprobs: Float32Array;
  /** The value head's estimate before each token; empty without `values`. */
  values: Float32Array;
}

/** Computes log-probabilities of answers under a model, without gradients. Never stores batch × vocabulary floats in memory. */
export class AnswerScorer {
  private readonly options: ScorerOptions;
  private readonly positions: Int32Array;
  private readonly executable: Executable;

  constructor(model: Model, options: ScorerOptions) {
    this.options = options;
    const { sequences, sequenceLength, dtype, fp8, adapters, temperature = 1, tensors = new Map() } = options;
    const rows = sequences * sequenceLength;
    this.positions = Int32Array.from({ length: rows }, (_, i) => i % sequenceLength);
    const program = compile((): Results => {
      const pass = sequenceForward(model, paddedRowInputs(rows), { sequenceLength, dtype, fp8, adapters });
      const logprobs = targetLogprobs({ hidden: pass.hidden, head: tempered(pass.head, temperature) });
      return options.values ? { logprobs, values: rowValues(pass, model) } : { logprobs };
    });
    this.executable = program.bind(model.device, new Map([...model.tensors, ...tensors]));
  }

  async score(answers: readonly AnsweredPrompt[], signal?: AbortSignal): Promise<ScoredAnswer[]> {
    const { sequences, sequenceLength } = this.options;
    const out: ScoredAnswer[] = [];
    for (let i = 0; i < answers.length; i += sequences) {
      const part = slotsOf(answers.slice(i, i + sequences), sequences);
      const { inputs, placements } = answerRows(part, sequenceLength);
      const { ids, targets, lengths } = inputs;
      const { executable, positions } = this;
      const needsLengths = executable.program.inputNames.has("lengths");
      const results = await executable.run({ ids, targets, positions, ...(needsLengths && { lengths }) }, { signal });
      const [logprobs, values = new Float32Array()] = [results.logprobs, results.values] as [
        Float32Array,
        Float32Array?,
      ];
      for (const placement of placements) {
        if (!placement) continue;
        const { first, count } = placement;
        out.push({ logprobs: logprobs.slice(first, first + count), values: values.slice(first, first + count) });
      }
    }
    return out;
  }

  /** Returns the log-probabilities of each answer's tokens. */
  async tokens(answers: readonly AnsweredPrompt[], signal?: AbortSignal): Promise<Float32Array[]> {
    return (await this.score(answers, signal)).map(({ logprobs }) => logprobs);
  }

  /** Returns the log-probability of each whole answer. */
  async sums(answers: readonly AnsweredPrompt[], signal?: AbortSignal): Promise<number[]> {
    const tokens = await this.tokens(answers, signal);
    // Add in the order of segment_sum, so that a policy with the reference's weights gets the same sums, bit for bit.
    return tokens.map((logprobs) => logprobs.reduce((s, v) => Math.fround(s + v), 0));
  }

  dispose(): void {
    this.executable.dispose();
  }
}

/** Adds the value head's output for each row to a trace. @returns (rows) f32 */
export function rowValues(pass: Forward, model: Model): Value {
  return reshape(valueHeadOutput(pass, model.config, cast(pass.hidden, "f32")), [pass.hidden.dim(0)]);
}
