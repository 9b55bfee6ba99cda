// heddle/ai-sdk: runs heddle's models as models of the AI SDK (https://ai-sdk.dev), in the same process, without a server.
import "../core/node-version.ts";

export { HeddleError, type HeddleErrorCode } from "../core/errors.ts";
export type { HeddleProviderOptions } from "./call-options.ts";
export {
  createHeddle,
  type HeddleProvider,
  heddle,
  heddleEmbedding,
  heddleReranker,
  type ModelSettings,
  type ProviderSettings,
  type SpecificationVersion,
} from "./provider.ts";
