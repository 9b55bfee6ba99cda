"""RoPE scalings of Llama (Touvron et al. 2023) and Qwen 3 (Yang et al. 2025)."""
from decoder import base

# With this original context, both ends of YaRN's ramp are fractions between the first and the last pair of dimensions.
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
CONFIGS = {
    "llama with linear scaling": base("llama", rope_scaling={"type": "linear", "rope_type": "linear", "factor": 3.0}),
    "llama with dynamic scaling": base("llama", max_position_embeddings=12,
                                       rope_scaling={"rope_type": "dynamic", "factor": 4.0}),
    "llama with yarn": base("llama", head_dim=16, rope_scaling=YARN),
    "qwen3 with yarn, untruncated": base("qwen3", head_dim=16, rope_scaling={
        **YARN, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.4}),
    "llama with yarn, its ramp": base("llama", head_dim=16, rope_scaling={**YARN, "beta_fast": 8.0, "beta_slow": 2.0}),
}
