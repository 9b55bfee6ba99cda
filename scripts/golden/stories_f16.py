#!/usr/bin/env python3
"""Logits of stories260K with its matrices rounded to float16, as in its F16 GGUF file. Computed in float64 from the F32 weights.

    python3 scripts/golden/stories_f16.py ../shared/fixtures/stories260K > test/golden/stories260k-f16.json

Needs PyTorch. `full` has the logits of the fixture's `full` ids. `nll` has, for each of its sequences, the negative
log-likelihood of every token but the first.
"""
import json
import math
import struct
import sys

import torch

folder = sys.argv[1]
torch.set_default_dtype(torch.float64)
config = json.load(open(f"{folder}/config.json"))
reference = json.load(open(f"{folder}/reference_logits.json"))

with open(f"{folder}/model.safetensors", "rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
    data = file.read()
weights = {}
for name, entry in header.items():
    if name == "__metadata__":
        continue
    begin, end = entry["data_offsets"]
    values = torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])
    # Rounded to nearest even, as numpy and ggml do.
    weights[name] = (values.half() if values.dim() > 1 else values).double()


def norm(x, name):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + config["rms_norm_eps"]) * weights[name]


def rotate(x):
    """Applies RoPE to x (T, H, D). The two halves of a head form the pairs."""
    T, _, D = x.shape
    f = config["rope_theta"] ** (-torch.arange(0, D, 2) / D)
    angle = (torch.arange(T)[:, None] * f)[:, None]
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def logits(ids):
    T, H, KH, D = len(ids), config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    table = weights["model.embed_tokens.weight"]
    x = table[torch.tensor(ids)]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        project = lambda y, name: y @ weights[f"{p}{name}.weight"].T
        y = norm(x, p + "input_layernorm.weight")
        q = rotate(project(y, "self_attn.q_proj").reshape(T, H, D))
        k = rotate(project(y, "self_attn.k_proj").reshape(T, KH, D)).repeat_interleave(H // KH, 1)
        v = project(y, "self_attn.v_proj").reshape(T, KH, D).repeat_interleave(H // KH, 1)
        scores = torch.einsum("thd,shd->hts", q, k) / math.sqrt(D)
        mixed = torch.einsum("hts,shd->thd", scores.masked_fill(future, -math.inf).softmax(-1), v)
        x = x + project(mixed.reshape(T, H * D), "self_attn.o_proj")
        y = norm(x, p + "post_attention_layernorm.weight")
        gate = project(y, "mlp.gate_proj")
        x = x + project(gate * torch.sigmoid(gate) * project(y, "mlp.up_proj"), "mlp.down_proj")
    return norm(x, "model.norm.weight") @ table.T


def likelihoods(ids):
    scores = logits(ids).log_softmax(-1)
    return [-float(scores[i, token]) for i, token in enumerate(ids[1:])]


def short(values):
    return [float(f"{v:.8g}") for v in values]


ids = reference["full"]["ids"]
out = {
    "full": {"ids": ids, "logits": [short(row) for row in logits(ids).tolist()]},
    "nll": [short(likelihoods(s["ids"])) for s in reference["sequences"]],
}
json.dump(out, sys.stdout, separators=(",", ":"))
print()
