export { type AutotuneOptions, type AutotuneReport, autotune, type TunedProduct } from "./autotune.ts";
export { type BenchOptions, type BenchSuiteName, bench, benchSuites } from "./bench.ts";
export { parseShare } from "./gate.ts";
export { markdownSummary } from "./markdown.ts";
export type { BenchReport, BenchResult, BenchUnit } from "./types.ts";
