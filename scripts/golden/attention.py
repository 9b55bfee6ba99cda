#!/usr/bin/env python3
"""Golden values for attention: outputs and gradients with documents, padding, windows, softcap and sinks.

The scores are computed in float64 with dense masks, and PyTorch differentiates them.

    python3 scripts/golden/attention.py > test/golden/attention.json

Needs PyTorch. Operands are not stored. This script and the test compute them from their names by the integer formula of
`weight` in models.py.
"""
import json
import math

import torch

torch.set_default_dtype(torch.float64)
LENGTH, SEQUENCES, HEADS, KEY_HEADS, WIDTH = 12, 2, 4, 2, 6
ROWS = LENGTH * SEQUENCES
PACKED = [0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 3, 3]
PADDED = [0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1]
GAPS = [-1, 4, 4, 4, -1, -1, 5, 5, 5, 4, 4, -1]

CASES = [
    {"name": "packed", "causal": True, "documents": PACKED + GAPS},
    {"name": "padded encoder", "causal": False, "documents": PADDED + PACKED},
    {"name": "local encoder", "causal": False, "window": 4},
    {"name": "local padded encoder", "causal": False, "window": 5, "documents": PADDED + GAPS},
    {"name": "sinks", "causal": True, "sinks": True},
    {"name": "sinks in a window", "causal": True, "window": 3, "sinks": True, "documents": PACKED + PADDED},
    {"name": "everything", "causal": False, "window": 6, "softcap": 1.5, "sinks": True, "documents": GAPS + PACKED},
]


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


def visible(case):
    """Returns (rows, rows): whether row i sees row j."""
    seen = torch.zeros(ROWS, ROWS, dtype=torch.bool)
    documents = case.get("documents", [0] * ROWS)
    # Each run of equal ids in a sequence is a document, even if another run has the same id. `runs` has the number of each row's run.
    runs = [0] * ROWS
    for i in range(1, ROWS):
        runs[i] = runs[i - 1] + (documents[i] != documents[i - 1] or i % LENGTH == 0)
    window = case.get("window")
    for i in range(ROWS):
        for j in range(ROWS):
            ok = i // LENGTH == j // LENGTH and runs[i] == runs[j] and documents[i] >= 0
            if case["causal"]:
                ok = ok and j <= i and (window is None or i - j < window)
            elif window is not None:
                ok = ok and abs(i - j) <= window / 2
            seen[i, j] = ok
    return seen


def attend(case, q, k, v, sinks):
    k, v = (t.repeat_interleave(HEADS // KEY_HEADS, dim=1) for t in (k, v))
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(WIDTH)
    if "softcap" in case:
        scores = case["softcap"] * torch.tanh(scores / case["softcap"])
    weights = torch.exp(scores) * visible(case)  # scores are of order 1, so no maximum needs to be subtracted
    total = weights.sum(-1, keepdim=True)
    if sinks is not None:
        total = total + torch.exp(sinks)[:, None, None]
    share = torch.where(total > 0, weights / torch.where(total > 0, total, 1), 0)
    return torch.einsum("hij,jhd->ihd", share, v)


def run(case):
    operand = lambda name, *shape: (weight(f"{case['name']}.{name}", shape) * 6).requires_grad_()
    q, k, v = operand("q", ROWS, HEADS, WIDTH), operand("k", ROWS, KEY_HEADS, WIDTH), operand("v", ROWS, KEY_HEADS, WIDTH)
    sinks = operand("sinks", HEADS) if case.get("sinks") else None
    o = attend(case, q, k, v, sinks)
    (o * weight(f"{case['name']}.do", o.shape)).sum().backward()
    out = {"o": o, "q": q.grad, "k": k.grad, "v": v.grad}
    if sinks is not None:
        out["sinks"] = sinks.grad
    return {**case, "values": {n: [round(x, 7) for x in t.flatten().tolist()] for n, t in out.items()}}


shape = {"length": LENGTH, "rows": ROWS, "heads": HEADS, "keyHeads": KEY_HEADS, "width": WIDTH}
print(json.dumps({"shape": shape, "cases": [run(case) for case in CASES]}, separators=(",", ":")))
