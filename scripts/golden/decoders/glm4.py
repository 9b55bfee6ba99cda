"""GLM 4 (Team GLM 2024)."""
import math

from decoder import Neighbours, attend, base, by_parameters, silu


class Glm4(Neighbours):
    """GLM 4: the version of 2024 has a norm before each block, and version 0414 also has one after each block."""

    def biased(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, self.C).T
        return y + self.w(name + ".bias", outputs) if self.c.get("attention_bias") else y

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.biased(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        o = attend(self.turn(q, lengths), self.turn(k, lengths), v, 1 / math.sqrt(self.D))
        return o @ self.w(p + "o_proj.weight", self.C, self.H * self.D).T

    def hidden(self, ids, lengths):
        c = self.c
        x = self.w("model.embed_tokens.weight", c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            a = self.attention(self.norm(x, n + "input_layernorm"), i, lengths)
            x = x + (a if self.kind == "glm" else self.norm(a, n + "post_self_attn_layernorm"))
            y = self.norm(x, n + "post_attention_layernorm")
            gate, up = self.linear(y, n + "mlp.gate_up_proj", 2 * c["intermediate_size"]).chunk(2, -1)
            m = self.linear(silu(gate) * up, n + "mlp.down_proj", self.C)
            x = x + (m if self.kind == "glm" else self.norm(m, n + "post_mlp_layernorm"))
        return self.norm(x, "model.norm")


MODELS = {"glm": Glm4, "glm4": Glm4}
CONFIGS = {
    "glm": base("glm", attention_bias=True, partial_rotary_factor=0.5, head_dim=8),
    "glm without biases, its newer dialect": by_parameters(base(
        "glm", hidden_size=64, attention_bias=False, head_dim=16, partial_rotary_factor=0.25, tie_word_embeddings=True)),
    "glm4": base("glm4", head_dim=12, attention_bias=True, partial_rotary_factor=0.5),
    "glm4 without biases, its newer dialect": {k: v for k, v in base(
        "glm4", head_dim=16, num_key_value_heads=1, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}).items()
        if k != "rope_theta"},
}
