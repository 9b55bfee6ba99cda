"""ERNIE 4.5 (Baidu 2025), the dense models."""
import math

from decoder import Neighbours, attend, base


class Ernie45(Neighbours):
    """ERNIE 4.5, the dense models."""

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        o = attend(self.turn(q, lengths), self.turn(k, lengths), v, 1 / math.sqrt(self.D))
        return self.linear(o, p + "o_proj", self.C)


MODELS = {"ernie4_5": Ernie45}
CONFIGS = {
    "ernie4_5": base("ernie4_5", head_dim=16, rope_theta=500000.0, use_bias=False, tie_word_embeddings=True),
    "ernie4_5, its newer dialect": {k: v for k, v in base(
        "ernie4_5", head_dim=12, rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items()
        if k != "rope_theta"},
    "ernie4_5 with nulls": base("ernie4_5", head_dim=None, num_key_value_heads=None, rope_scaling=None, use_bias=None,
                                rope_theta=500000.0, tie_word_embeddings=True),
}
