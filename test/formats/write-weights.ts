// Writes weight files alone, without a configuration or a tokenizer.
import { stageSafetensors, stageWeights } from "../../lib/formats/safetensors/safetensors-write.ts";
import { type StagedFiles, writeTogether } from "../../lib/io/staged-files.ts";

type After<F> = F extends (files: StagedFiles, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;

/** Writes one safetensors file. Returns its size in bytes. */
export const writeSafetensors: After<typeof stageSafetensors> = (...rest) =>
  writeTogether((files) => stageSafetensors(files, ...rest));

/** Writes a model's weight files into an existing folder. Returns their names and total size. */
export const saveWeights: After<typeof stageWeights> = (...rest) =>
  writeTogether((files) => stageWeights(files, ...rest));
