"""Golden values of LoRA, from an independent float64 implementation in PyTorch.

    python3 scripts/golden/lora.py > test/golden/lora.json

The models and batches are those of training.py. Some layers have a low-rank update. This script merges it into the weights, W + scale * B
A. heddle adds scale * x A^T B^T to the layer's output, which must give the same results. A and B come from the same hash as the weights, in
the order of the layers: A with tensor numbers from 2000 on, B from 3000 on. Both are rounded to float32, and neither starts at zero.
"""
import json
import math

import torch

from training import BASE, decoder, gpt2, hashed, initial

CASES = {
    "llama, every linear layer": ({**BASE, "type": "llama"}, dict(r=4, alpha=8, targets=None)),
    "llama, q and v, rsLoRA": ({**BASE, "type": "llama"}, dict(r=3, alpha=6, useRslora=True, targets=["q_proj", "v_proj"])),
    "gpt2": ({**BASE, "type": "gpt2", "kvHeads": 4, "inner": 128, "tied": False},
             dict(r=2, alpha=2, targets=["c_attn", "c_fc", "mlp.c_proj"])),
}


def run(c, lora):
    w = {n: p.detach() for n, p in initial(c).items()}
    forward = gpt2 if c["type"] == "gpt2" else decoder
    linear = [n for n, p in w.items() if p.dim() == 2 and not any(s in n for s in ("embed", "wte", "wpe", "lm_head"))]
    names = [n.removesuffix(".weight") for n in linear]
    if lora["targets"]:
        names = [n for n in names if any(n.endswith("." + t) for t in lora["targets"])]
    scale = lora["alpha"] / (math.sqrt(lora["r"]) if lora.get("useRslora") else lora["r"])
    A, B = {}, {}
    for i, n in enumerate(names):
        rows, columns = w[n + ".weight"].shape
        inputs, outputs = (rows, columns) if c["type"] == "gpt2" else (columns, rows)
        A[n] = (hashed(2000 + i, lora["r"] * inputs).view(lora["r"], inputs) * 0.3).float().double().requires_grad_(True)
        B[n] = (hashed(3000 + i, outputs * lora["r"]).view(outputs, lora["r"]) * 0.2).float().double().requires_grad_(True)

    def adapted():
        out = dict(w)
        for n in names:
            update = scale * (B[n] @ A[n])
            out[n + ".weight"] = w[n + ".weight"] + (update.T if c["type"] == "gpt2" else update)
        return out

    b, t = 2, c["positions"]
    ids = ((hashed(1000, b * (t + 1)) + 0.5) * c["vocab"]).floor().long().view(b, t + 1)
    x, y = ids[:, :-1], ids[:, 1:].clone()
    y[0, :3] = -100
    params = [p for n in names for p in (A[n], B[n])]
    optimizer = torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    gradients, losses, norms = {}, [], []
    for step in range(10):
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(forward(c, adapted(), x).reshape(-1, c["vocab"]), y.reshape(-1), ignore_index=-100)
        value.backward()
        losses.append(value.item())
        if step == 0:
            for n in names:
                for letter, p in (("A", A[n]), ("B", B[n])):
                    gradients[f"{n}.lora_{letter}"] = {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()}
            last = forward(c, adapted(), x)[:, -1].tolist()
        norms.append(torch.nn.utils.clip_grad_norm_(params, 1.0).item())
        optimizer.step()
    return {"model": c["type"], "lora": lora, "layers": names, "ids": x.tolist(), "targets": y.tolist(),
            "logitsAtLast": last, "gradients": gradients, "losses": losses, "gradNorms": norms}


if __name__ == "__main__":
    print(json.dumps({name: run(*case) for name, case in CASES.items()}))
