#!/usr/bin/env python3
"""Golden values for whole models: logits and greedy continuations of tiny models, from an independent float64 implementation.

    python3 scripts/golden/models.py > test/golden/models.json

Needs PyTorch. Weights are not stored. This script and the test compute them from their names by the integer formula of `weight`,
which is exact.
"""
import json
import math
import sys

import torch

torch.set_default_dtype(torch.float64)


def hash32(x):
    """lowbias32 (Wellons 2018) on int64 tensors holding 32-bit values."""
    mask = 0xFFFFFFFF
    x = x ^ (x >> 16)
    x = (x * 0x21F0AAAD) & mask
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & mask
    return x ^ (x >> 15)


def fnv(name):
    h = 0x811C9DC5
    for c in name.encode():
        h = ((h ^ c) * 0x01000193) & 0xFFFFFFFF
    return h


def weight(name, shape, around=0.0):
    """Returns 12-bit fractions, which are exact in float32: from [-1/4, 1/4) for matrices, [-1/8, 1/8) for vectors, plus `around`."""
    count = math.prod(shape)
    bits = hash32((torch.arange(count, dtype=torch.int64) + fnv(name)) & 0xFFFFFFFF) >> 20
    unit = bits.to(torch.float64) / 4096 - 0.5
    return (unit * (0.5 if len(shape) > 1 else 0.25) + around).reshape(shape)


def rms_norm(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def frequencies(config, width):
    f = config.get("rope_theta", 10000.0) ** (-torch.arange(0, width, 2) / width)
    scaling = config.get("rope_scaling")
    if scaling:
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
        for i in range(len(f)):
            wavelength = 2 * math.pi / float(f[i])
            if wavelength > original / low:
                f[i] = f[i] / factor
            elif wavelength > original / high:
                smooth = (original / wavelength - low) / (high - low)
                f[i] = (1 - smooth) * f[i] / factor + smooth * f[i]
    return f


def rotate(x, f):
    """Applies RoPE to x (T, H, D). The two halves of a head form the pairs."""
    angles = torch.arange(x.shape[0])[:, None] * f
    cos, sin = torch.cos(angles)[:, None, :], torch.sin(angles)[:, None, :]
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q, k, v, window):
    """Causal attention of q (T, H, D) over k and v (T, KH, D). With a window, query i sees keys j with i - window < j <= i."""
    T, H, D = q.shape
    out = torch.empty(T, H, D)
    for h in range(H):
        g = h * k.shape[1] // H
        scores = q[:, h] @ k[:, g].T / math.sqrt(D)
        i, j = torch.arange(T)[:, None], torch.arange(T)[None, :]
        hidden = j > i
        if window:
            hidden = hidden | (j <= i - window)
        out[:, h] = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v[:, g]
    return out.reshape(T, H * D)


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def decoder(config, ids):
    kind = config["model_type"]
    C, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    H, KH = config["num_attention_heads"], config["num_key_value_heads"]
    D, eps = config.get("head_dim", C // H), config["rms_norm_eps"]
    gemma = kind == "gemma"
    # Gemma's norms multiply by 1 + w, so its w is near 0.
    around = 0.0 if gemma else 1.0
    norm = lambda x, name, n=C: rms_norm(x, weight(name, (n,), around) + (1.0 if gemma else 0.0), eps)
    f = frequencies(config, D)
    table = weight("model.embed_tokens.weight", (V, C))
    x = table[ids] * (math.sqrt(C) if gemma else 1.0)
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        y = norm(x, p + "input_layernorm.weight")

        def project(name, heads):
            z = y @ weight(f"{p}self_attn.{name}.weight", (heads * D, C)).T
            if kind == "qwen2":
                z = z + weight(f"{p}self_attn.{name}.bias", (heads * D,))
            return z.reshape(-1, heads, D)

        q, k, v = project("q_proj", H), project("k_proj", KH), project("v_proj", KH)
        if kind == "qwen3":
            q = norm(q, p + "self_attn.q_norm.weight", D)
            k = norm(k, p + "self_attn.k_norm.weight", D)
        window = config.get("sliding_window") if kind == "mistral" else None
        o = attend(rotate(q, f), rotate(k, f), v, window)
        x = x + o @ weight(p + "self_attn.o_proj.weight", (C, H * D)).T
        y = norm(x, p + "post_attention_layernorm.weight")
        gate = y @ weight(p + "mlp.gate_proj.weight", (F, C)).T
        gate = gelu_tanh(gate) if gemma else gate / (1 + torch.exp(-gate))
        up = y @ weight(p + "mlp.up_proj.weight", (F, C)).T
        x = x + (gate * up) @ weight(p + "mlp.down_proj.weight", (C, F)).T
    head = table if config["tie_word_embeddings"] else weight("lm_head.weight", (V, C))
    return norm(x, "model.norm.weight") @ head.T


def gpt2(config, ids):
    C, V, H = config["n_embd"], config["vocab_size"], config["n_head"]
    F, D, eps = 4 * C, C // H, config["layer_norm_epsilon"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        y = centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps)
        return y * weight(name + ".weight", (C,), 1.0) + weight(name + ".bias", (C,))

    def conv(x, name, inputs, outputs):
        return x @ weight(name + ".weight", (inputs, outputs)) + weight(name + ".bias", (outputs,))

    table = weight("transformer.wte.weight", (V, C))
    x = table[ids] + weight("transformer.wpe.weight", (config["n_positions"], C))[: len(ids)]
    for layer in range(config["n_layer"]):
        p = f"transformer.h.{layer}."
        q, k, v = conv(norm(x, p + "ln_1"), p + "attn.c_attn", C, 3 * C).split(C, -1)
        heads = lambda z: z.reshape(-1, H, D)
        x = x + conv(attend(heads(q), heads(k), heads(v), None), p + "attn.c_proj", C, C)
        x = x + conv(gelu_tanh(conv(norm(x, p + "ln_2"), p + "mlp.c_fc", C, F)), p + "mlp.c_proj", F, C)
    return norm(x, "transformer.ln_f") @ table.T


def llama_like(kind, **more):
    return {
        "model_type": kind, "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, **more,
    }


CONFIGS = {
    "llama": llama_like("llama"),
    "llama with llama3 scaling": llama_like("llama", rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}),
    "mistral with a window": llama_like("mistral", sliding_window=5, head_dim=12),
    "qwen2": llama_like("qwen2", tie_word_embeddings=True),
    "qwen3": llama_like("qwen3", head_dim=16),
    "gemma": llama_like("gemma", num_key_value_heads=1, head_dim=10, tie_word_embeddings=True,
                        hidden_act="gelu_pytorch_tanh"),
    "gpt2": {"model_type": "gpt2", "vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 64,
             "n_ctx": 64, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"},
}
PROMPT = [7, 0, 23, 60, 5, 5, 41, 12, 33]
NEW = 24


def main():
    models = []
    for name, config in CONFIGS.items():
        forward = gpt2 if config["model_type"] == "gpt2" else decoder
        ids, margin = list(PROMPT), math.inf
        for _ in range(NEW):
            best = torch.topk(forward(config, torch.tensor(ids))[-1], 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            ids.append(int(best.indices[0]))
        logits = forward(config, torch.tensor(ids[:16]))
        rows = [[float(f"{v:.9g}") for v in row] for row in logits.tolist()]
        models.append({"name": name, "config": config, "prompt": PROMPT, "greedy": ids[len(PROMPT):],
                       "smallestMargin": float(f"{margin:.3g}"), "logits": rows})
    sys.stdout.write("[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in models) + "\n]\n")


if __name__ == "__main__":
    main()
