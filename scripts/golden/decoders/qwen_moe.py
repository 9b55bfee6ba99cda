"""Qwen 2 and 3 with routed experts (Qwen Team 2024; Yang et al. 2025)."""
from decoder import base, by_parameters

CONFIGS = {
    "qwen3_moe": base("qwen3_moe", head_dim=16, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20,
                      norm_topk_prob=True),
    "qwen3_moe, every second layer": base("qwen3_moe", num_hidden_layers=4, num_experts=5, num_experts_per_tok=3,
                                          moe_intermediate_size=12, decoder_sparse_step=2, mlp_only_layers=[3],
                                          norm_topk_prob=False),
    "qwen2_moe": base("qwen2_moe", num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12, norm_topk_prob=False,
                      shared_expert_intermediate_size=28, use_sliding_window=False, sliding_window=5),
    "qwen2_moe, every second layer, in rope_parameters": by_parameters(base(
        "qwen2_moe", num_hidden_layers=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=16,
        norm_topk_prob=True, shared_expert_intermediate_size=20, decoder_sparse_step=2, mlp_only_layers=[3],
        qkv_bias=True)),
}
