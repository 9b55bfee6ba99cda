// Options of beam search, and options that it excludes.
import { HeddleError, invalidArgument } from "../../core/errors.ts";
import { checkWhole } from "../../core/option-values.ts";
import type { GenerationConfig } from "../../formats/config/generation-config.ts";
import type { GenerateOptions } from "../generation-options.ts";

/** Options of beam search with all defaults filled in. */
export interface BeamOptions {
  numBeams: number;
  lengthPenalty: number;
  earlyStopping: boolean | "never";
}

/** Maximum number of beams. Each beam needs a KV cache slot and a row in every step's batch. */
const MAX_BEAMS = 128;

/** Options of random sampling with their neutral values. A seed has none. */
const SAMPLING = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: undefined } as const;
/** Options of speculative decoding with their neutral values. */
const SPECULATION = { promptLookupNumTokens: 0, assistantModel: undefined, numAssistantTokens: undefined } as const;

/** Returns the first option of `neutral` whose given value differs from its neutral value. */
function given(options: GenerateOptions, neutral: Partial<Record<keyof GenerateOptions, unknown>>) {
  return (Object.keys(neutral) as (keyof GenerateOptions)[]).find(
    (name) => options[name] !== undefined && options[name] !== neutral[name],
  );
}

/**
 * Returns the options of beam search: the caller's, else the model's. The model's `num_beams` is ignored if the model
 * samples, or if the caller sets an option that beam search excludes: sampling, speculation or `promptLogprobs`.
 * @returns undefined for one beam
 * @throws HeddleError INVALID_ARGUMENT
 */
export function beamsOf(options: GenerateOptions, generation: GenerationConfig): BeamOptions | undefined {
  const own = options.numBeams ?? undefined;
  if (own !== undefined) checkWhole("numBeams", own, 1, MAX_BEAMS);
  const other =
    given(options, SAMPLING) ?? given(options, SPECULATION) ?? given(options, { promptLogprobs: undefined });
  const modelBeams = other === undefined && generation.doSample !== true ? generation.numBeams : undefined;
  const numBeams = own ?? Math.min(modelBeams ?? 1, MAX_BEAMS);
  const { lengthPenalty = generation.lengthPenalty ?? 1, earlyStopping = generation.earlyStopping ?? false } = options;
  if (typeof lengthPenalty !== "number" || !Number.isFinite(lengthPenalty))
    throw invalidArgument("lengthPenalty", "a finite number", lengthPenalty);
  if (typeof earlyStopping !== "boolean" && earlyStopping !== "never")
    throw invalidArgument("earlyStopping", 'true, false or "never"', earlyStopping);
  if (numBeams === 1) {
    for (const name of ["lengthPenalty", "earlyStopping"] as const)
      if (options[name] !== undefined)
        throw invalidArgument(name, "no value unless numBeams is above 1", options[name]);
    return undefined;
  }
  if (other !== undefined)
    throw new HeddleError("INVALID_ARGUMENT", `${other}: cannot be combined with numBeams ${numBeams}`);
  const { n = 1 } = options;
  if (n > numBeams)
    throw new HeddleError(
      "INVALID_ARGUMENT",
      `n: expected at most numBeams, which is ${numBeams}${own === undefined ? " (from the model's configuration; numBeams: 1 turns beam search off)" : ""}, got ${n}`,
    );
  return { numBeams, lengthPenalty, earlyStopping };
}
