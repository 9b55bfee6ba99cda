#!/usr/bin/env python3
"""Golden values of the model families beyond scripts/golden/models.py: logits, greedy continuations and the gradients of a loss.

    /usr/bin/python3 scripts/golden/families.py > test/golden/families.json
    /usr/bin/python3 scripts/golden/families.py gpt_neox             # only names with this prefix
    /usr/bin/python3 scripts/golden/families.py --update gpt_neox    # replaces these models in the file

Each family is written from its paper or its published definition, in float64. Weights have their Hugging Face names, and their values
are computed from these names (`weight` in models.py). The file therefore has only the names and shapes of the weights.
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F

from decoder import Model
from dense_families import MODELS

FILE = pathlib.Path(__file__).parents[2] / "test" / "golden" / "families.json"


def base(kind, **more):
    return {
        "model_type": kind, "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, **more,
    }


def base_neox(**more):
    return {
        "model_type": "gpt_neox", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "use_parallel_residual": True, "tie_word_embeddings": False, **more,
    }
def by_parameters(config):
    """Converts a configuration to the dialect of transformers 5, which has `rope_parameters`."""
    theta = config.pop("rope_theta")
    return {**config, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}


FACTORS = {"short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5], "long_factor": [1.0, 1.4, 2.0, 3.1, 4.5, 6.0]}
NEW_DIALECT = base("gemma3_text", num_hidden_layers=3, head_dim=12, tie_word_embeddings=True, sliding_window=5,
                   hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12,
                   layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                   rope_parameters={
                       "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 50000.0},
                       "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}})
del NEW_DIALECT["rope_theta"]
# With this original context, both ends of YaRN's ramp are fractions between the first and the last pair of dimensions.
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
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
    "olmo": {k: v for k, v in base("olmo", clip_qkv=None, num_key_value_heads=4).items() if k != "rms_norm_eps"},
    "olmo with bounds, its newer dialect": {k: v for k, v in by_parameters(base(
        "olmo", clip_qkv=0.4, tie_word_embeddings=True)).items() if k != "rms_norm_eps"},
    "olmo2": base("olmo2", rope_theta=500000.0),
    "olmo3": base("olmo3", num_hidden_layers=5, head_dim=16, rope_theta=500000.0, sliding_window=5, rope_scaling=YARN),
    "olmo3 by layer type": base("olmo3", num_hidden_layers=3, sliding_window=4,
                                layer_types=["full_attention", "sliding_attention", "full_attention"], rope_parameters={
                                    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
                                    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}),
    "exaone4": base("exaone4", num_hidden_layers=5, head_dim=8, sliding_window=5, sliding_window_pattern="LLLG",
                    rope_theta=1000000.0, rope_scaling={
                        "rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 64}),
    "exaone4 without a window, its newer dialect": by_parameters(base(
        "exaone4", head_dim=12, sliding_window=None, sliding_window_pattern=None, tie_word_embeddings=True,
        layer_types=["full_attention", "full_attention"])),
    "hunyuan_v1_dense": base("hunyuan_v1_dense", head_dim=16, use_qk_norm=True, use_cla=False, tie_word_embeddings=True,
                             rope_scaling={"type": "dynamic", "rope_type": "dynamic", "alpha": 50.0, "factor": 1.0,
                                           "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}),
    "hunyuan_v1_dense, its newer dialect": by_parameters(base("hunyuan_v1_dense", head_dim=None, attention_bias=True)),
    "phi": {k: v for k, v in base("phi", intermediate_size=64, num_key_value_heads=None, layer_norm_eps=1e-5, hidden_act="gelu_new",
                                  qk_layernorm=False, rope_scaling=None).items() if k != "rms_norm_eps"},
    "phi, its newer dialect": {k: v for k, v in base(
        "phi", hidden_size=40, layer_norm_eps=1e-6, hidden_act="gelu_new", tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.4}).items()
        if k not in ("rms_norm_eps", "rope_theta")},
    "seed_oss": base("seed_oss", head_dim=12, attention_bias=True, attention_out_bias=False, mlp_bias=False,
                     rope_theta=10000000.0, rope_scaling={"rope_type": "default"}),
    "seed_oss without biases, its newer dialect": by_parameters(base("seed_oss", head_dim=16, attention_bias=False)),
    "phi3": base("phi3", sliding_window=6),
    "phi3 with longrope": base("phi3", head_dim=16, partial_rotary_factor=0.75, original_max_position_embeddings=12,
                               rope_scaling={"type": "longrope", "rope_type": "longrope", **FACTORS}),
    "smollm3": base("smollm3", num_hidden_layers=5, tie_word_embeddings=True),
    "smollm3 with a window": base("smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1], sliding_window=5,
                                  layer_types=["full_attention", "sliding_attention", "full_attention"],
                                  use_sliding_window=True),
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
    "mixtral": base("mixtral", num_local_experts=5, num_experts_per_tok=2, rope_theta=1000000.0, sliding_window=None),
    "mixtral with a window, in rope_parameters": by_parameters(base(
        "mixtral", head_dim=12, num_local_experts=4, num_experts_per_tok=3, rope_theta=50000.0, sliding_window=5)),
    "olmoe": base("olmoe", num_key_value_heads=4, intermediate_size=20, num_experts=6, num_experts_per_tok=3,
                  norm_topk_prob=False, clip_qkv=None),
    "olmoe with shares of one, in rope_parameters": by_parameters(base(
        "olmoe", intermediate_size=12, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True)),
    "gpt_oss": base("gpt_oss", head_dim=16, num_local_experts=5, num_experts_per_tok=2, intermediate_size=24,
                    attention_bias=True, sliding_window=5, rope_theta=150000.0, swiglu_limit=0.4, rope_scaling={
                        "rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False,
                        "original_max_position_embeddings": 1024}),
    "gpt_oss in MXFP4": base("gpt_oss", head_dim=16, num_local_experts=3, num_experts_per_tok=2, intermediate_size=64,
                             attention_bias=True, sliding_window=5, rope_theta=150000.0,
                             quantization_config={"quant_method": "mxfp4"}),
    "llama with linear scaling": base("llama", rope_scaling={"type": "linear", "rope_type": "linear", "factor": 3.0}),
    "llama with dynamic scaling": base("llama", max_position_embeddings=12,
                                       rope_scaling={"rope_type": "dynamic", "factor": 4.0}),
    "llama with yarn": base("llama", head_dim=16, rope_scaling=YARN),
    "qwen3 with yarn, untruncated": base("qwen3", head_dim=16, rope_scaling={
        **YARN, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.4}),
    "llama with yarn, its ramp": base("llama", head_dim=16, rope_scaling={**YARN, "beta_fast": 8.0, "beta_slow": 2.0}),
    "gpt_neox": base_neox(rotary_pct=0.25, rotary_emb_base=10000),
    "gpt_neox in sequence, its newer dialect": base_neox(
        use_parallel_residual=False, hidden_act="gelu_new", attention_bias=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}),
    "starcoder2": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=True, hidden_act="gelu_pytorch_tanh", sliding_window=5,
        rope_theta=999999.44, tie_word_embeddings=False).items() if k != "rms_norm_eps"},
    "starcoder2 without biases and windows, its newer dialect": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=False, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items() if k not in ("rms_norm_eps", "rope_theta")},
    "stablelm": {k: v for k, v in base(
        "stablelm", hidden_size=64, num_key_value_heads=4, layer_norm_eps=1e-5, partial_rotary_factor=0.25, use_qkv_bias=True,
        qk_layernorm=False, use_parallel_residual=False, rope_scaling=None).items() if k != "rms_norm_eps"},
    "stablelm with parallel blocks and norms of heads": {k: v for k, v in base(
        "stablelm", layer_norm_eps=1e-5, use_qkv_bias=False, qk_layernorm=True, use_parallel_residual=True).items()
        if k != "rms_norm_eps"},
    "stablelm with norms of heads, its newer dialect": {k: v for k, v in base(
        "stablelm", layer_norm_eps=1e-6, use_qkv_bias=True, qk_layernorm=True, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}).items()
        if k not in ("rms_norm_eps", "rope_theta")},
    "glm": base("glm", attention_bias=True, partial_rotary_factor=0.5, head_dim=8),
    "glm without biases, its newer dialect": by_parameters(base(
        "glm", hidden_size=64, attention_bias=False, head_dim=16, partial_rotary_factor=0.25, tie_word_embeddings=True)),
    "glm4": base("glm4", head_dim=12, attention_bias=True, partial_rotary_factor=0.5),
    "glm4 without biases, its newer dialect": {k: v for k, v in base(
        "glm4", head_dim=16, num_key_value_heads=1, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}).items()
        if k != "rope_theta"},
    "ernie4_5": base("ernie4_5", head_dim=16, rope_theta=500000.0, use_bias=False, tie_word_embeddings=True),
    "ernie4_5, its newer dialect": {k: v for k, v in base(
        "ernie4_5", head_dim=12, rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items()
        if k != "rope_theta"},
    "ernie4_5 with nulls": base("ernie4_5", head_dim=None, num_key_value_heads=None, rope_scaling=None, use_bias=None,
                                rope_theta=500000.0, tie_word_embeddings=True),
    "cohere": {k: v for k, v in base("cohere", layer_norm_eps=1e-5, logit_scale=0.5, use_qk_norm=False, rope_theta=8e6,
                                     attention_bias=True, tie_word_embeddings=True).items() if k != "rms_norm_eps"},
    "cohere with norms of heads": {k: v for k, v in base(
        "cohere", head_dim=12, layer_norm_eps=1e-5, logit_scale=0.8, use_qk_norm=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True).items()
        if k not in ("rms_norm_eps", "rope_theta")},
    "cohere2": {k: v for k, v in base(
        "cohere2", num_hidden_layers=5, head_dim=12, layer_norm_eps=1e-5, logit_scale=2.0, sliding_window=5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True).items()
        if k not in ("rms_norm_eps", "rope_theta")},
}
PROMPT = [7, 0, 23, 60, 5, 5, 41, 12, 33]
NEW = 24


def lengths_of(config, prompt, total):
    """Returns the length that the sequence had when each of its rows was computed, for dynamic scaling, which depends on it in transformers."""
    if (config.get("rope_scaling") or {}).get("rope_type") == "dynamic":
        return [max(prompt, i + 1) for i in range(total)]
    return None


def number(v):
    return float(f"{v:.7g}")


def golden(name, config):
    model = MODELS.get(config["model_type"], Model)(config)
    ids, margin, scores = list(PROMPT), math.inf, []
    with torch.no_grad():
        for _ in range(NEW):
            row = model.logits(ids, lengths_of(config, len(PROMPT), len(ids)))[-1]
            best = torch.topk(row, 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            scores.append(number(torch.log_softmax(row, -1).max()))
            ids.append(int(best.indices[0]))
    z = model.logits(ids[:16])
    loss = F.cross_entropy(z[:-1], torch.tensor(ids[1:16]))
    loss.backward()
    gradients = {
        n: {"norm": number(w.grad.norm()), "first": [number(v) for v in w.grad.flatten()[:4]]}
        for n, w in model.w.all.items() if w.grad is not None
    }
    return {
        "name": name, "config": config, "weights": {n: list(w.shape) for n, w in [*model.w.all.items(), *model.w.bytes.items()]},
        "prompt": PROMPT, "greedy": ids[len(PROMPT):], "logprobs": scores, "smallestMargin": float(f"{margin:.3g}"),
        "logits": [[number(v) for v in row] for row in z.tolist()], "loss": number(loss), "gradients": gradients,
    }


def as_lines(models):
    return "[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in models) + "\n]\n"


if __name__ == "__main__":
    update = sys.argv[1:2] == ["--update"]
    wanted = tuple(sys.argv[2 if update else 1:]) or ("",)
    made = {n: golden(n, c) for n, c in CONFIGS.items() if n.startswith(wanted)}
    if update:
        kept = {m["name"]: m for m in json.loads(FILE.read_text())}
        FILE.write_text(as_lines([made.get(n) or kept[n] for n in CONFIGS]))
    else:
        sys.stdout.write(as_lines(made.values()))
