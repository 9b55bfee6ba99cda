import { builtInDecoder } from "../define-decoder.ts";

/** ERNIE 4.5 (Baidu 2025), its dense models: Llama whose heads' neighbours turn together. */
export const ernie45 = builtInDecoder("ernie4_5", { flags: { interleaved: true } });
