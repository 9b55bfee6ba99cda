// A family that differs from Llama only in its feed-forward block: down(relu(up(x))²), the squared ReLU of Primer (So et al. 2021).
// Other features are flags of `decoderFamily` or fields of its `shape`: norms of blocks and heads, scales, experts, and layers with RoPE.
//   import "./custom-decoder.ts";
//   const base = createModel({ modelType: "squared_llama", hiddenSize: 192, numHiddenLayers: 4 }, { tokenizer });
import { decoderFamily, mul, registerFamily, relu } from "heddle/graph";

registerFamily({
  modelType: "squared_llama",
  architecture: "SquaredLlamaForCausalLM",
  gguf: { architecture: "squared-llama" },
  ...decoderFamily({
    feedForward: {
      weights: ({ hiddenSize: width, intermediateSize: inner }) => ({
        "up_proj.weight": { shape: [inner, width], init: "normal" },
        "down_proj.weight": { shape: [width, inner], init: "residual" },
      }),
      forward(context, x, prefix) {
        const up = relu(context.linear(x, `${prefix}.up_proj`));
        return context.linear(mul(up, up), `${prefix}.down_proj`);
      },
    },
  }),
});
