"""StableLM 3B and 2 (Bellagente et al. 2024)."""
import math

import torch

from decoder import Model, attend, base, layer_norm
from rotary import rotate, turning


class StableLm(Model):
    """StableLM 3B and 2 (Bellagente et al. 2024): attention and MLP of a parallel layer share one norm. Each head of q and k may
    have a norm without a bias."""

    def norm(self, x, name, width=None):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        biased = self.c.get("use_qkv_bias") and name.endswith(("q_proj", "k_proj", "v_proj"))
        return y + self.w(name + ".bias", outputs) if biased else y

    def heads(self, x, name):
        """Normalizes each head with a separate weight."""
        weights = [self.w(f"{name}.norms.{h}.weight", self.D) for h in range(x.shape[1])]
        return torch.stack([layer_norm(x[:, h], w, None, self.c["layer_norm_eps"]) for h, w in enumerate(weights)], 1)

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        if self.c.get("qk_layernorm"):
            q, k = self.heads(q, p + "q_layernorm"), self.heads(k, p + "k_layernorm")
        f, scale = turning({"partial_rotary_factor": 0.25, **self.c}, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.linear(o, p + "o_proj", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            y = self.norm(x, n + "input_layernorm")
            attended = x + self.attention(y, i, lengths)
            if not self.c.get("use_parallel_residual"):
                y = self.norm(attended, n + "post_attention_layernorm")
            x = attended + self.mlp(y, i)
        return self.norm(x, "model.norm")


MODELS = {"stablelm": StableLm}
CONFIGS = {
    "stablelm": {k: v for k, v in base(
        "stablelm", hidden_size=64, num_key_value_heads=4, layer_norm_eps=1e-5, partial_rotary_factor=0.25, use_qkv_bias=True,
        qk_layernorm=False, use_parallel_residual=False, rope_scaling=None).items() if k != "rms_norm_eps"},
    "stablelm with parallel blocks and norms of heads": {k: v for k, v in base(
        "stablelm", layer_norm_eps=1e-5, use_qkv_bias=False, qk_layernorm=True, use_parallel_residual=True).items()
        if k != "rms_norm_eps"},
    "stablelm with norms of heads, its newer dialect": {k: v for k, v in base(
        "stablelm", layer_norm_eps=1e-6, use_qkv_bias=True, qk_layernorm=True, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}).items()
        if k not in ("rms_norm_eps", "rope_theta")},
}
