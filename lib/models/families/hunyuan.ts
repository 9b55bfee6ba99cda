import { builtInDecoder } from "../define-decoder.ts";

/** HunYuan's dense models, 0.5B to 7B (Tencent 2025): Llama with norms of the heads of q and k after RoPE. */
export const hunyuan = builtInDecoder("hunyuan_v1_dense", {
  flags: { queryNorm: "turned head", names: { queryNorm: "query_layernorm", keyNorm: "key_layernorm" } },
});
