"""EXAONE 4 (LG AI Research 2025)."""
import math

import torch

from decoder import Model, attend, base, by_parameters
from rotary import rotate, turning


class Exaone4(Model):
    """EXAONE 4 (LG AI Research 2025): norms follow the attention and the MLP. If the model has a window, layers without one have no RoPE."""

    def layer_type(self, i):
        c = self.c
        if c.get("sliding_window") is None:
            return "full_attention"
        period = c.get("sliding_window_pattern", 4)
        period = len(period) if isinstance(period, str) else period
        return c["layer_types"][i] if "layer_types" in c else "sliding_attention" if (i + 1) % period else "full_attention"

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        q, k = self.norm(q, p + "q_norm", D), self.norm(k, p + "k_norm", D)
        window = self.c.get("sliding_window")
        slides = self.layer_type(i) == "sliding_attention"
        if slides or window is None:
            f, scale = turning(self.c, lengths[-1])
            positions = torch.arange(T, dtype=torch.float64)
            q, k = rotate(q, positions, f, scale), rotate(k, positions, f, scale)
        o = attend(q, k, v, 1 / math.sqrt(D), window if slides else None)
        return self.linear(o, p + "o_proj", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            x = x + self.norm(self.attention(x, i, lengths), n + "post_attention_layernorm")
            x = x + self.norm(self.mlp(x, i), n + "post_feedforward_layernorm")
        return self.norm(x, "model.norm")


MODELS = {"exaone4": Exaone4}
CONFIGS = {
    "exaone4": base("exaone4", num_hidden_layers=5, head_dim=8, sliding_window=5, sliding_window_pattern="LLLG",
                    rope_theta=1000000.0, rope_scaling={
                        "rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 64}),
    "exaone4 without a window, its newer dialect": by_parameters(base(
        "exaone4", head_dim=12, sliding_window=None, sliding_window_pattern=None, tie_word_embeddings=True,
        layer_types=["full_attention", "full_attention"])),
}
