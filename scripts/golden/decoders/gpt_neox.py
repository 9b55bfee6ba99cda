"""GPT-NeoX (Black et al. 2022)."""
import math

import torch
import torch.nn.functional as F

from decoder import Model, attend, layer_norm
from rotary import rotate, turning


class NeoX(Model):
    """GPT-NeoX (Black et al. 2022): attention and the MLP have separate norms, and may both read the same residual stream."""

    def biased(self, x, name, outputs, bias=True):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if bias else y

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def attention(self, x, n, lengths):
        T, H, D, bias = len(x), self.H, self.D, self.c.get("attention_bias", True)
        qkv = self.biased(x, n + "attention.query_key_value", 3 * self.C, bias).reshape(T, H, 3, D)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        given = self.c.get("rope_parameters") or {
            "rope_theta": self.c["rotary_emb_base"], "partial_rotary_factor": self.c["rotary_pct"]}
        f, scale = turning({**self.c, "rope_parameters": {"rope_type": "default", **given}}, T)
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.biased(o, n + "attention.dense", self.C, bias)

    def mlp(self, x, n):
        inner = self.biased(x, n + "mlp.dense_h_to_4h", self.c["intermediate_size"])
        inner = F.gelu(inner, approximate="none" if self.c["hidden_act"] == "gelu" else "tanh")
        return self.biased(inner, n + "mlp.dense_4h_to_h", self.C)

    def hidden(self, ids, lengths):
        x = self.w("gpt_neox.embed_in.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"gpt_neox.layers.{i}."
            a = self.attention(self.norm(x, n + "input_layernorm"), n, lengths)
            if self.c["use_parallel_residual"]:
                x = x + a + self.mlp(self.norm(x, n + "post_attention_layernorm"), n)
            else:
                x = x + a
                x = x + self.mlp(self.norm(x, n + "post_attention_layernorm"), n)
        return self.norm(x, "gpt_neox.final_layer_norm")

    def head(self):
        return "gpt_neox.embed_in.weight" if self.c["tie_word_embeddings"] else "embed_out.weight"


def base_neox(**more):
    return {
        "model_type": "gpt_neox", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "use_parallel_residual": True, "tie_word_embeddings": False, **more,
    }


MODELS = {"gpt_neox": NeoX}
CONFIGS = {
    "gpt_neox": base_neox(rotary_pct=0.25, rotary_emb_base=10000),
    "gpt_neox in sequence, its newer dialect": base_neox(
        use_parallel_residual=False, hidden_act="gelu_new", attention_bias=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}),
}
