export { documentsOf } from "./documents.ts";
export { type PerplexityOptions, type PerplexityResult, perplexity } from "./perplexity.ts";
