"""Gemma 2 and 3 (Gemma Team 2024, 2025), and VaultGemma (Google 2025)."""
import math

from decoder import Model, base


class VaultGemma(Model):
    """VaultGemma (Google 2025): Gemma 2 without the norms of the blocks' results."""

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids] * math.sqrt(self.C)
        for i in range(self.L):
            n = f"model.layers.{i}."
            x = x + self.attention(self.norm(x, n + "input_layernorm"), i, lengths)
            x = x + self.mlp(self.norm(x, n + "pre_feedforward_layernorm"), i)
        return self.norm(x, "model.norm")


NEW_DIALECT = base("gemma3_text", num_hidden_layers=3, head_dim=12, tie_word_embeddings=True, sliding_window=5,
                   hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12,
                   layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                   rope_parameters={
                       "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 50000.0},
                       "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}})
del NEW_DIALECT["rope_theta"]
MODELS = {"vaultgemma": VaultGemma}
CONFIGS = {
    "gemma2": base("gemma2", num_hidden_layers=3, head_dim=10, query_pre_attn_scalar=24, sliding_window=5,
                   attn_logit_softcapping=3.0, final_logit_softcapping=4.0, tie_word_embeddings=True,
                   hidden_activation="gelu_pytorch_tanh"),
    "gemma3": base("gemma3_text", num_hidden_layers=3, head_dim=12, query_pre_attn_scalar=20, sliding_window=5,
                   sliding_window_pattern=3, rope_theta=50000.0, rope_local_base_freq=500.0,
                   rope_scaling={"rope_type": "linear", "factor": 8.0}, tie_word_embeddings=True,
                   attn_logit_softcapping=None, final_logit_softcapping=None,
                   hidden_activation="gelu_pytorch_tanh"),
    "gemma3 by layer type": NEW_DIALECT,
    # As in the released model, all layers see the whole context, in spite of the window. Soft caps may be null.
    "vaultgemma": base("vaultgemma", num_hidden_layers=3, head_dim=10, query_pre_attn_scalar=24, sliding_window=5,
                       layer_types=["full_attention"] * 3, attn_logit_softcapping=None, final_logit_softcapping=None,
                       tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh"),
    "vaultgemma with windows and soft caps": base(
        "vaultgemma", num_hidden_layers=3, head_dim=12, query_pre_attn_scalar=12, sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], attn_logit_softcapping=3.0,
        final_logit_softcapping=4.0, tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh"),
}
