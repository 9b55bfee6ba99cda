"""OLMo 2 and 3 (Team OLMo 2024, 2025)."""
from decoder import base

# With this original context, both ends of YaRN's ramp are fractions between the first and the last pair of dimensions.
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
CONFIGS = {
    "olmo2": base("olmo2", rope_theta=500000.0),
    "olmo3": base("olmo3", num_hidden_layers=5, head_dim=16, rope_theta=500000.0, sliding_window=5, rope_scaling=YARN),
    "olmo3 by layer type": base("olmo3", num_hidden_layers=3, sliding_window=4,
                                layer_types=["full_attention", "sliding_attention", "full_attention"], rope_parameters={
                                    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
                                    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}),
}
