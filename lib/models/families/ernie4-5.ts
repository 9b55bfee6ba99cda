import { decoderFamily } from "../define-decoder.ts";
import type { FamilyDefinition } from "../family.ts";

/** ERNIE 4.5 (Baidu 2025), the dense models: Llama whose RoPE pairs adjacent dimensions of a head. */
export const ernie45: FamilyDefinition = {
  modelType: "ernie4_5",
  architecture: "Ernie4_5ForCausalLM",
  calls: ["hermes"],
  defaults: { rmsNormEps: 1e-5, ropeTheta: 5e5, maxPositionEmbeddings: 131072, tieWordEmbeddings: true },
  fileDefaults: { headDim: 128, numKeyValueHeads: 2 },
  mustBe: { use_bias: false },
  gguf: { architecture: "ernie4_5", llamaCpp: { attentionBias: false, mlpBias: false } },
  ...decoderFamily({ flags: { interleaved: true } }),
};
