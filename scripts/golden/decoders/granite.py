"""Granite 3 and 4 (IBM 2024, 2025)."""
from decoder import Model, base, by_parameters, silu


class GraniteHybrid(Model):
    """Granite 4 without state-space layers and experts (IBM 2025): `input_linear` has the rows of gate, then those of up."""

    def mlp(self, x, i):
        p = f"model.layers.{i}.shared_mlp."
        gate, up = self.linear(x, p + "input_linear", 2 * self.c["shared_intermediate_size"]).chunk(2, -1)
        return self.linear(silu(gate) * up, p + "output_linear", self.C)


MODELS = {"granitemoehybrid": GraniteHybrid}
CONFIGS = {
    "granite": base("granite", embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
                    logits_scaling=8.0, tie_word_embeddings=True),
    "granitemoe": base("granitemoe", intermediate_size=20, num_local_experts=6, num_experts_per_tok=2,
                       embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
                       logits_scaling=6.0, tie_word_embeddings=True),
    "granitemoe, its newer dialect": by_parameters(base(
        "granitemoe", head_dim=12, intermediate_size=12, num_local_experts=5, num_experts_per_tok=3,
        attention_multiplier=0.2, embedding_multiplier=1.5)),
    "granitemoehybrid": base(
        "granitemoehybrid", intermediate_size=512, shared_intermediate_size=40, num_local_experts=0, num_experts_per_tok=0,
        layer_types=["attention", "attention"], position_embedding_type="rope", embedding_multiplier=12.0,
        attention_multiplier=0.0625, residual_multiplier=0.22, logits_scaling=6.0, tie_word_embeddings=True),
    "granitemoehybrid, its newer dialect": by_parameters(base(
        "granitemoehybrid", shared_intermediate_size=24, num_local_experts=0, layer_types=["attention", "attention"],
        position_embedding_type="rope", embedding_multiplier=1.5, attention_multiplier=0.2)),
}
