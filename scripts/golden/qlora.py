"""Golden values of QLoRA: low-rank updates over quantized weights, from an independent float64 implementation in PyTorch.

    python3 scripts/golden/qlora.py > test/golden/qlora.json

The frozen matrices are blocks of bytes from the hash of training.py. The formulas of quantized.py decode them element by element, and the
model of training.py computes with the decoded values. Only the adapter is trained.
"""
import json
import struct

import torch

import quantized
from training import BASE, decoder, decoder_shapes, hashed

# For each type: offsets of its half-precision numbers, with the magnitude that makes its values about 0.1.
HALVES = {"q4_0": {0: 2 ** -7}, "q8_0": {0: 2 ** -11}, "q4_k": {0: 2 ** -13, 2: 2 ** -11}}
LORA = dict(r=4, alpha=8)


def blocks(dtype, tensor, elements):
    """Returns the bytes of a tensor's blocks. test/train/language-modeling/qlora.test.ts computes the same bytes."""
    count, size, _ = next(v for k, v in quantized.TYPES.items() if k.__name__ == dtype)
    total = elements // count
    data = bytearray(((hashed(tensor, total * size) + 0.5) * 256).floor().long().tolist())
    for n in range(total):
        for at, unit in HALVES[dtype].items():
            data[n * size + at:n * size + at + 2] = struct.pack("<e", unit * (1 + n % 4 / 4))
    return bytes(data), count, size


def matrix(dtype, tensor, shape):
    data, count, size = blocks(dtype, tensor, shape[0] * shape[1])
    element = getattr(quantized, dtype)
    values = [float(element(data[at:at + size], i)) for at in range(0, len(data), size) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).view(shape)


def run(dtype):
    width = 256 if dtype == "q4_k" else 64
    c = {**BASE, "type": "llama", "hidden": width, "inner": width, "layers": 1, "kvHeads": 2, "headDim": width // 4, "positions": 12}
    w = {}
    for i, (n, shape) in enumerate(decoder_shapes(c)):
        w[n] = matrix(dtype, i, shape) if len(shape) == 2 else (0.2 * hashed(i, shape[0]) + 1).float().double()
    names = [n.removesuffix(".weight") for n, p in w.items() if p.dim() == 2 and "embed" not in n]
    A, B = {}, {}
    for i, n in enumerate(names):
        outputs, inputs = w[n + ".weight"].shape
        A[n] = (hashed(2000 + i, LORA["r"] * inputs).view(LORA["r"], inputs) * 0.3).float().double().requires_grad_(True)
        B[n] = (hashed(3000 + i, outputs * LORA["r"]).view(outputs, LORA["r"]) * 0.2).float().double().requires_grad_(True)

    def adapted():
        return {**w, **{n + ".weight": w[n + ".weight"] + LORA["alpha"] / LORA["r"] * (B[n] @ A[n]) for n in names}}

    b, t = 2, c["positions"]
    ids = ((hashed(1000, b * (t + 1)) + 0.5) * c["vocab"]).floor().long().view(b, t + 1)
    x, y = ids[:, :-1], ids[:, 1:]
    params = [p for n in names for p in (A[n], B[n])]
    optimizer = torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    gradients, losses = {}, []
    for step in range(10):
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(decoder(c, adapted(), x).reshape(-1, c["vocab"]), y.reshape(-1))
        value.backward()
        losses.append(value.item())
        if step == 0:
            for n in names:
                for letter, p in (("A", A[n]), ("B", B[n])):
                    gradients[f"{n}.lora_{letter}"] = {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()}
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
    return {"dtype": dtype, "config": c, "lora": LORA, "ids": x.tolist(), "targets": y.tolist(), "gradients": gradients, "losses": losses}


if __name__ == "__main__":
    print(json.dumps([run(dtype) for dtype in HALVES]))
