"""gpt-oss (OpenAI 2025)."""
from decoder import base

CONFIGS = {
    "gpt_oss": base("gpt_oss", head_dim=16, num_local_experts=5, num_experts_per_tok=2, intermediate_size=24,
                    attention_bias=True, sliding_window=5, rope_theta=150000.0, swiglu_limit=0.4, rope_scaling={
                        "rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False,
                        "original_max_position_embeddings": 1024}),
    "gpt_oss in MXFP4": base("gpt_oss", head_dim=16, num_local_experts=3, num_experts_per_tok=2, intermediate_size=64,
                             attention_bias=True, sliding_window=5, rope_theta=150000.0,
                             quantization_config={"quant_method": "mxfp4"}),
}
