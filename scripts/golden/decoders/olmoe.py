"""OLMoE (Muennighoff et al. 2024)."""
from decoder import base, by_parameters

CONFIGS = {
    "olmoe": base("olmoe", num_key_value_heads=4, intermediate_size=20, num_experts=6, num_experts_per_tok=3,
                  norm_topk_prob=False, clip_qkv=None),
    "olmoe with shares of one, in rope_parameters": by_parameters(base(
        "olmoe", intermediate_size=12, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True)),
}
