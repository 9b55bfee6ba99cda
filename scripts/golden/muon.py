"""Golden values of Muon and of the z-loss, from an independent float64 implementation in PyTorch.

    python3 scripts/golden/muon.py > test/golden/muon.json

The models are those of training.py. Muon follows its reference implementation (Jordan et al. 2024): Nesterov momentum by lerp, five
quintic Newton-Schulz steps (here in float64), and an update scaled by sqrt(max(1, rows / columns)). AdamW updates embeddings, head and
norms.
"""
import json
import math

import torch

from training import CASES, decoder, gpt2, hashed, initial


def newton_schulz(g):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(5):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def run(c, z_loss, weight_decay):
    w = initial(c)
    forward = gpt2 if c["type"] == "gpt2" else decoder
    b, t = 2, c["positions"]
    ids = ((hashed(1000, b * (t + 1)) + 0.5) * c["vocab"]).floor().long().view(b, t + 1)
    x, y = ids[:, :-1], ids[:, 1:].clone()
    y[0, :3] = -100
    hidden = [n for n, p in w.items() if p.dim() == 2 and (".layers." in n or ".h." in n)]
    rest = {n: p for n, p in w.items() if n not in hidden}
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest.values() if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in rest.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8,
    )
    momentum, rate = 0.95, 0.02
    buffers = {n: torch.zeros_like(w[n]) for n in hidden}
    losses, norms, gradients = [], [], {}
    for step in range(10):
        for p in w.values():
            p.grad = None
        logits = forward(c, w, x).reshape(-1, c["vocab"])
        counted = y.reshape(-1) >= 0
        cross = torch.nn.functional.cross_entropy(logits, y.reshape(-1), ignore_index=-100)
        value = cross + z_loss * (logits.logsumexp(-1)[counted] ** 2).mean()
        value.backward()
        losses.append(value.item())
        if step == 0:
            gradients = {n: {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()} for n, p in w.items()}
        norms.append(torch.nn.utils.clip_grad_norm_(w.values(), 1.0).item())
        adamw.step()
        with torch.no_grad():
            for n in hidden:
                g = w[n].grad
                buffers[n].lerp_(g, 1 - momentum)
                update = g.lerp(buffers[n], momentum)
                transposed = c["type"] == "gpt2"  # stored (inputs, outputs)
                update = newton_schulz(update.T if transposed else update)
                update = update * math.sqrt(max(1, update.shape[0] / update.shape[1]))
                w[n].mul_(1 - rate * weight_decay).sub_(rate * (update.T if transposed else update))
    return {
        "model": c["type"], "zLoss": z_loss, "weightDecay": weight_decay, "momentum": momentum, "rate": rate,
        "hidden": hidden, "losses": losses, "gradNorms": norms, "gradients": gradients,
    }


print(json.dumps([run(CASES["llama"], 0.0, 0.0), run(CASES["qwen3"], 0.01, 0.1), run(CASES["gpt2"], 0.0, 0.05)]))
