"""Mixtral (Jiang et al. 2024)."""
from decoder import base, by_parameters

CONFIGS = {
    "mixtral": base("mixtral", num_local_experts=5, num_experts_per_tok=2, rope_theta=1000000.0, sliding_window=None),
    "mixtral with a window, in rope_parameters": by_parameters(base(
        "mixtral", head_dim=12, num_local_experts=4, num_experts_per_tok=3, rope_theta=50000.0, sliding_window=5)),
}
