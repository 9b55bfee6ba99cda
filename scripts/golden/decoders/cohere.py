"""Command R, R+ and R7B (Cohere 2024)."""
import math

from decoder import Neighbours, attend, base, layer_norm


class Cohere(Neighbours):
    """Command R and R7B: attention and MLP share one norm without a bias. In R7B, layers without a window have no RoPE."""

    def layer_type(self, i):
        return "sliding_attention" if self.kind == "cohere2" and (i + 1) % 4 else "full_attention"

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        if self.c.get("use_qk_norm"):  # Command R+: each head has separate norm weights
            eps = self.c["layer_norm_eps"]
            q = layer_norm(q, self.w(p + "q_norm.weight", self.H, self.D), None, eps)
            k = layer_norm(k, self.w(p + "k_norm.weight", self.KH, self.D), None, eps)
        slides = self.layer_type(i) == "sliding_attention"
        if slides or self.kind == "cohere":
            q, k = self.turn(q, lengths), self.turn(k, lengths)
        o = attend(q, k, v, 1 / math.sqrt(self.D), self.c["sliding_window"] if slides else None)
        return self.linear(o, p + "o_proj", self.C)

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), None, self.c["layer_norm_eps"])

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            y = self.norm(x, f"model.layers.{i}.input_layernorm")
            x = x + self.attention(y, i, lengths) + self.mlp(y, i)
        return self.norm(x, "model.norm")

    def logits(self, ids, lengths=None):
        return super().logits(ids, lengths) * self.c["logit_scale"]


MODELS = {"cohere": Cohere, "cohere2": Cohere}
CONFIGS = {
    "cohere": {k: v for k, v in base("cohere", layer_norm_eps=1e-5, logit_scale=0.5, use_qk_norm=False, rope_theta=8e6,
                                     attention_bias=True, tie_word_embeddings=True).items() if k != "rms_norm_eps"},
    "cohere with norms of heads": {k: v for k, v in base(
        "cohere", head_dim=12, layer_norm_eps=1e-5, logit_scale=0.8, use_qk_norm=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True).items()
        if k not in ("rms_norm_eps", "rope_theta")},
    "cohere2": {k: v for k, v in base(
        "cohere2", num_hidden_layers=5, head_dim=12, layer_norm_eps=1e-5, logit_scale=2.0, sliding_window=5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True).items()
        if k not in ("rms_norm_eps", "rope_theta")},
}
