"""RoPE frequencies for every kind of scaling, from the papers and the configuration keys of transformers.

`turning(config, length, layer_type)` returns the inverse frequencies for a sequence of `length` positions, and the factor of its
cosines and sines.
"""
import math

import torch


def parameters(config, layer_type="full_attention"):
    """Reads the dialects of config.json: rope_theta with rope_scaling, rope_parameters, and rope_parameters per layer type."""
    given = config.get("rope_parameters")
    if given and layer_type in given:
        return given[layer_type]
    if given:
        return given
    if layer_type == "sliding_attention" and "rope_local_base_freq" in config:
        return {"rope_type": "default", "rope_theta": config["rope_local_base_freq"]}
    theta = config.get("rope_theta", 10000.0)
    if layer_type == "sliding_attention" and config["model_type"] == "olmo3":  # OLMo 3 scales only its full layers
        return {"rope_type": "default", "rope_theta": theta}
    return {"rope_type": "default", "rope_theta": theta, **(config.get("rope_scaling") or {})}


def turning(config, length, layer_type="full_attention"):
    p = parameters(config, layer_type)
    kind, theta = p.get("rope_type", "default"), p["rope_theta"]
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    d = int(head * p.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)))
    i = torch.arange(0, d, 2, dtype=torch.float64)
    most = config["max_position_embeddings"]
    base = theta ** (-i / d)
    if kind == "default":
        return base, 1.0
    if kind == "linear":
        return base / p["factor"], 1.0
    if kind == "llama3":  # Llama 3.1: divides the frequencies of long wavelengths, keeps those of short wavelengths, and interpolates between
        low, high, original = p["low_freq_factor"], p["high_freq_factor"], p["original_max_position_embeddings"]
        ramp = torch.clamp((original * base / (2 * math.pi) - low) / (high - low), 0, 1)
        return base / p["factor"] * (1 - ramp) + base * ramp, 1.0
    if kind == "dynamic" and p.get("alpha"):  # HunYuan: theta does not depend on the length
        return (theta * p["alpha"] ** (d / (d - 2))) ** (-i / d), 1.0
    if kind == "dynamic":
        grown = theta * (p["factor"] * max(length, most) / most - (p["factor"] - 1)) ** (d / (d - 2))
        return grown ** (-i / d), 1.0
    if kind == "longrope":
        original = config.get("original_max_position_embeddings") or p.get("original_max_position_embeddings", most)
        factors = torch.tensor(p["long_factor"] if length > original else p["short_factor"], dtype=torch.float64)
        ratio = most / original
        return base / factors, math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
    if kind == "yarn":
        factor, original = p["factor"], p.get("original_max_position_embeddings", most)

        def pair(rotations):
            """Returns the (fractional) index of the pair that rotates this many times within the original context."""
            return d * math.log(original / (2 * math.pi * rotations)) / (2 * math.log(theta))

        low, high = pair(p.get("beta_fast", 32)), pair(p.get("beta_slow", 1))
        if p.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, d - 1)
        ramp = torch.clamp((torch.arange(d // 2, dtype=torch.float64) - low) / max(high - low, 0.001), 0, 1)
        scale = lambda m: 1.0 if factor <= 1 else 0.1 * m * math.log(factor) + 1
        if p.get("mscale") and p.get("mscale_all_dim"):
            attention = scale(p["mscale"]) / scale(p["mscale_all_dim"])
        else:
            attention = scale(1)
        return base / factor * ramp + base * (1 - ramp), p.get("attention_factor", attention)
    raise ValueError(kind)


def rotate(x, positions, frequencies, scale):
    """Applies RoPE to x (T, H, D): positions (T), frequencies (R/2) or (T, R/2). The halves of the first R dimensions form the pairs."""
    angles = positions[:, None] * frequencies
    r = 2 * frequencies.shape[-1]
    cos, sin = (torch.cos(angles) * scale)[:, None, :], (torch.sin(angles) * scale)[:, None, :]
    a, b, rest = x[..., : r // 2], x[..., r // 2 : r], x[..., r:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)
