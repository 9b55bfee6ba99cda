// Checks that a broken file gives a model or a HeddleError that blames the file, within a second of CPU time.
import { expect } from "vitest";
import { HeddleError, type HeddleErrorCode } from "../../lib/core/errors.ts";
import { LanguageModel } from "../../lib/language-model/index.ts";
import { processorTime } from "./helpers.ts";

/** Error codes that blame a file. */
const FAULTS: readonly HeddleErrorCode[] = ["INVALID_FILE", "UNSUPPORTED", "NOT_FOUND"];

/** Runs `action`, which must end within a second of CPU time and may fail only with a HeddleError of FAULTS or `also`. */
export async function survives(
  action: () => unknown,
  also: readonly HeddleErrorCode[] = [],
): Promise<HeddleErrorCode | undefined> {
  const start = processorTime();
  let code: HeddleErrorCode | undefined;
  try {
    await action();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    expect([...FAULTS, ...also], error.message).toContain(error.code);
    expect(error.message, "one line").not.toMatch(/\n/);
    code = error.code;
  }
  expect(processorTime() - start, "milliseconds").toBeLessThan(1000);
  return code;
}

/** Loads a file or folder that may hold a model, and generates with it. */
export async function use(path: string): Promise<void> {
  const model = await LanguageModel.load(path, { threads: 1 });
  try {
    await model.complete([1, 2, 3], { maxTokens: 2, temperature: 0, ignoreEos: true });
    if (model.config.embedding) await model.embed(model.tokenizer ? "It's 12" : [1, 2, 3]);
    if (model.tokenizer) model.tokenizer.decode(model.tokenizer.encode("It's 12 o'clock, déjà vu 日本 <s>"));
  } finally {
    model.dispose();
  }
}

/** Further error codes that a broken model may cause when it runs, such as for NaN or a context too short for the prompt. */
export const COMPUTED: readonly HeddleErrorCode[] = ["NUMERICAL", "CONTEXT_OVERFLOW", "INVALID_ARGUMENT"];

/** Lengths to truncate a file to: every one if `all` is true or the file is short. Otherwise samples those in the middle. */
export function cuts(length: number, all: boolean): number[] {
  const lengths = Array.from({ length }, (_, i) => i);
  return all || length < 1200 ? lengths : lengths.filter((i) => i < 500 || i >= length - 200 || i % 97 === 0);
}
