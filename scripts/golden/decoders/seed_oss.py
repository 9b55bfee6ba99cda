"""Seed-OSS (ByteDance 2025)."""
from decoder import Model, base, by_parameters


class SeedOss(Model):
    """Seed-OSS (ByteDance 2025): q, k and v have biases, the output has none."""

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        biased = self.c.get("attention_bias", True) and name.endswith(("q_proj", "k_proj", "v_proj"))
        return y + self.w(name + ".bias", outputs) if biased else y


MODELS = {"seed_oss": SeedOss}
CONFIGS = {
    "seed_oss": base("seed_oss", head_dim=12, attention_bias=True, attention_out_bias=False, mlp_bias=False,
                     rope_theta=10000000.0, rope_scaling={"rope_type": "default"}),
    "seed_oss without biases, its newer dialect": by_parameters(base("seed_oss", head_dim=16, attention_bias=False)),
}
