"""OLMo 1 (Groeneveld et al. 2024)."""
from decoder import Model, base, by_parameters, layer_norm


class Olmo(Model):
    """OLMo 1 (Groeneveld et al. 2024): layer norms without weights. Queries, keys and values may be clamped."""

    def norm(self, x, name, width=None):
        return layer_norm(x, 1.0, None, 1e-5)

    def linear(self, x, name, outputs):
        y = super().linear(x, name, outputs)
        bound = self.c.get("clip_qkv")
        return y.clamp(-bound, bound) if bound and name.endswith(("q_proj", "k_proj", "v_proj")) else y


MODELS = {"olmo": Olmo}
CONFIGS = {
    "olmo": {k: v for k, v in base("olmo", clip_qkv=None, num_key_value_heads=4).items() if k != "rms_norm_eps"},
    "olmo with bounds, its newer dialect": {k: v for k, v in by_parameters(base(
        "olmo", clip_qkv=0.4, tie_word_embeddings=True)).items() if k != "rms_norm_eps"},
}
