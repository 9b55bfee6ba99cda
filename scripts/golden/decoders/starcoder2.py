"""StarCoder 2 (Lozhkov et al. 2024)."""
import torch.nn.functional as F

from decoder import Model, base, layer_norm


class StarCoder2(Model):
    """StarCoder 2 (Lozhkov et al. 2024)."""

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["norm_epsilon"])

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if self.c["use_bias"] else y

    def layer_type(self, i):
        return "sliding_attention" if self.c.get("sliding_window") else "full_attention"

    def mlp(self, x, i):
        p = f"model.layers.{i}.mlp."
        inner = F.gelu(self.linear(x, p + "c_fc", self.c["intermediate_size"]), approximate="tanh")
        return self.linear(inner, p + "c_proj", self.C)


MODELS = {"starcoder2": StarCoder2}
CONFIGS = {
    "starcoder2": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=True, hidden_act="gelu_pytorch_tanh", sliding_window=5,
        rope_theta=999999.44, tie_word_embeddings=False).items() if k != "rms_norm_eps"},
    "starcoder2 without biases and windows, its newer dialect": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=False, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items() if k not in ("rms_norm_eps", "rope_theta")},
}
