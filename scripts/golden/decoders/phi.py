"""Phi 1, 1.5 and 2 (Gunasekar et al. 2023; Li et al. 2023)."""
import math

import torch
import torch.nn.functional as F

from decoder import Model, attend, base, layer_norm
from rotary import rotate, turning


class Phi(Model):
    """Phi 1, 1.5 and 2 (Gunasekar et al. 2023; Li et al. 2023): attention and MLP share one norm, and all layers have biases."""

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def linear(self, x, name, outputs):
        return x @ self.w(name + ".weight", outputs, x.shape[-1]).T + self.w(name + ".bias", outputs)

    def attention(self, x, n, lengths):
        T, D = len(x), self.D
        q, k, v = (self.linear(x, f"{n}self_attn.{name}_proj", h * D).reshape(T, h, D)
                   for name, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        f, scale = turning({"partial_rotary_factor": 0.5, **self.c}, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.linear(o, n + "self_attn.dense", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            y = self.norm(x, n + "input_layernorm")
            inner = F.gelu(self.linear(y, n + "mlp.fc1", self.c["intermediate_size"]), approximate="tanh")
            x = x + self.attention(y, n, lengths) + self.linear(inner, n + "mlp.fc2", self.C)
        return self.norm(x, "model.final_layernorm")

    def logits(self, ids, lengths=None):
        return super().logits(ids, lengths) + self.w("lm_head.bias", self.c["vocab_size"])


MODELS = {"phi": Phi}
CONFIGS = {
    "phi": {k: v for k, v in base("phi", intermediate_size=64, num_key_value_heads=None, layer_norm_eps=1e-5, hidden_act="gelu_new",
                                  qk_layernorm=False, rope_scaling=None).items() if k != "rms_norm_eps"},
    "phi, its newer dialect": {k: v for k, v in base(
        "phi", hidden_size=40, layer_norm_eps=1e-6, hidden_act="gelu_new", tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.4}).items()
        if k not in ("rms_norm_eps", "rope_theta")},
}
