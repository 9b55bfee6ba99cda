"""HunYuan V1 (Tencent 2025), the dense models."""
import math

import torch

from decoder import Model, attend, base, by_parameters
from rotary import rotate, turning


class HunYuan(Model):
    """HunYuan V1, the dense models (Tencent 2025): each head of q and k is normalized after RoPE."""

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        f, scale = turning(self.c, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        q = self.norm(rotate(q, positions, f, scale), p + "query_layernorm", D)
        k = self.norm(rotate(k, positions, f, scale), p + "key_layernorm", D)
        return self.linear(attend(q, k, v, 1 / math.sqrt(D)), p + "o_proj", self.C)


MODELS = {"hunyuan_v1_dense": HunYuan}
CONFIGS = {
    "hunyuan_v1_dense": base("hunyuan_v1_dense", head_dim=16, use_qk_norm=True, use_cla=False, tie_word_embeddings=True,
                             rope_scaling={"type": "dynamic", "rope_type": "dynamic", "alpha": 50.0, "factor": 1.0,
                                           "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}),
    "hunyuan_v1_dense, its newer dialect": by_parameters(base("hunyuan_v1_dense", head_dim=None, attention_bias=True)),
}
