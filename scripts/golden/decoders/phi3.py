"""Phi-3 (Abdin et al. 2024)."""
from decoder import base

FACTORS = {"short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5], "long_factor": [1.0, 1.4, 2.0, 3.1, 4.5, 6.0]}
CONFIGS = {
    "phi3": base("phi3", sliding_window=6),
    "phi3 with longrope": base("phi3", head_dim=16, partial_rotary_factor=0.75, original_max_position_embeddings=12,
                               rope_scaling={"type": "longrope", "rope_type": "longrope", **FACTORS}),
}
