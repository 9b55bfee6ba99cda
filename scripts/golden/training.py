"""Golden values of training, from an independent float64 implementation in PyTorch.

    python3 scripts/golden/training.py > test/golden/training.json

Each case is a tiny model. Its weights are hashes of (tensor index, element index), so that no weight file is needed. A case has the
logits and gradients (norms and first values) of one batch, and the losses and gradient norms of ten AdamW steps on it.
"""
import json
import math

import torch

torch.set_default_dtype(torch.float64)
M = 0xFFFFFFFF


def hashed(tensor, count):
    """Returns uniform values in [-0.5, 0.5), which must equal those of hashed() in test/golden/weights.ts."""
    out = []
    for i in range(count):
        h = ((i + 1) * 0x9E3779B1 + (tensor + 1) * 0x85EBCA77) & M
        h ^= h >> 15
        h = (h * 0x2C1B3C6D) & M
        h ^= h >> 12
        h = (h * 0x297A2D39) & M
        h ^= h >> 15
        out.append(h / 4294967296 - 0.5)
    return torch.tensor(out)


def decoder_shapes(c):
    q, kv = c["heads"] * c["headDim"], c["kvHeads"] * c["headDim"]
    shapes = [("model.embed_tokens.weight", (c["vocab"], c["hidden"]))]
    for i in range(c["layers"]):
        p = f"model.layers.{i}."
        shapes.append((p + "input_layernorm.weight", (c["hidden"],)))
        for n, w in (("q", q), ("k", kv), ("v", kv)):
            shapes.append((p + f"self_attn.{n}_proj.weight", (w, c["hidden"])))
            if c["type"] == "qwen2":
                shapes.append((p + f"self_attn.{n}_proj.bias", (w,)))
        if c["type"] == "qwen3":
            shapes += [(p + f"self_attn.{n}_norm.weight", (c["headDim"],)) for n in "qk"]
        shapes.append((p + "self_attn.o_proj.weight", (c["hidden"], q)))
        shapes.append((p + "post_attention_layernorm.weight", (c["hidden"],)))
        shapes += [(p + f"mlp.{n}_proj.weight", (c["inner"], c["hidden"])) for n in ("gate", "up")]
        shapes.append((p + "mlp.down_proj.weight", (c["hidden"], c["inner"])))
    shapes.append(("model.norm.weight", (c["hidden"],)))
    if not c["tied"]:
        shapes.append(("lm_head.weight", (c["vocab"], c["hidden"])))
    return shapes


def gpt2_shapes(c):
    h, inner = c["hidden"], c["inner"]
    shapes = [("transformer.wte.weight", (c["vocab"], h)), ("transformer.wpe.weight", (c["positions"], h))]
    norm = lambda n: [(n + ".weight", (h,)), (n + ".bias", (h,))]
    conv = lambda n, i, o: [(n + ".weight", (i, o)), (n + ".bias", (o,))]
    for i in range(c["layers"]):
        p = f"transformer.h.{i}."
        shapes += norm(p + "ln_1") + conv(p + "attn.c_attn", h, 3 * h) + conv(p + "attn.c_proj", h, h)
        shapes += norm(p + "ln_2") + conv(p + "mlp.c_fc", h, inner) + conv(p + "mlp.c_proj", inner, h)
    shapes += norm("transformer.ln_f")
    if not c["tied"]:
        shapes.append(("lm_head.weight", (c["vocab"], h)))
    return shapes


def visible(t, window):
    i, j = torch.arange(t)[:, None], torch.arange(t)[None, :]
    ok = j <= i
    return ok & (j > i - window) if window else ok


def attend(q, k, v, window):
    """Causal attention of q (B, H, T, D) over k and v (B, KH, T, D)."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    s = s.masked_fill(~visible(q.shape[2], window), float("-inf"))
    return s.softmax(-1) @ v


def rms(x, w, eps, offset=0.0):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * (offset + w)


def rotate(x, theta):
    """Applies RoPE to x (B, H, T, D). The two halves of a head form the pairs."""
    d, t = x.shape[-1], x.shape[2]
    angle = torch.arange(t)[:, None] * theta ** (-torch.arange(0, d, 2) / d)[None, :]
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def decoder(c, w, ids):
    b, t = ids.shape
    offset = 1.0 if c["type"] == "gemma" else 0.0
    act = (lambda x: torch.nn.functional.gelu(x, approximate="tanh")) if c["type"] == "gemma" else torch.nn.functional.silu
    x = w["model.embed_tokens.weight"][ids] * (math.sqrt(c["hidden"]) if c["type"] == "gemma" else 1.0)
    for i in range(c["layers"]):
        p = f"model.layers.{i}."
        h = rms(x, w[p + "input_layernorm.weight"], c["eps"], offset)

        def heads(n, count):
            y = h @ w[p + f"self_attn.{n}_proj.weight"].T
            if p + f"self_attn.{n}_proj.bias" in w:
                y = y + w[p + f"self_attn.{n}_proj.bias"]
            y = y.view(b, t, count, c["headDim"])
            if p + f"self_attn.{n}_norm.weight" in w:
                y = rms(y, w[p + f"self_attn.{n}_norm.weight"], c["eps"])
            return y.transpose(1, 2)

        q, k, v = heads("q", c["heads"]), heads("k", c["kvHeads"]), heads("v", c["kvHeads"])
        o = attend(rotate(q, c["theta"]), rotate(k, c["theta"]), v, c.get("window"))
        x = x + o.transpose(1, 2).reshape(b, t, -1) @ w[p + "self_attn.o_proj.weight"].T
        h = rms(x, w[p + "post_attention_layernorm.weight"], c["eps"], offset)
        x = x + (act(h @ w[p + "mlp.gate_proj.weight"].T) * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    x = rms(x, w["model.norm.weight"], c["eps"], offset)
    return x @ w["model.embed_tokens.weight" if c["tied"] else "lm_head.weight"].T


def gpt2(c, w, ids):
    b, t = ids.shape
    norm = lambda x, n: torch.nn.functional.layer_norm(x, (c["hidden"],), w[n + ".weight"], w[n + ".bias"], c["eps"])
    conv = lambda x, n: x @ w[n + ".weight"] + w[n + ".bias"]
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:t]
    for i in range(c["layers"]):
        p = f"transformer.h.{i}."
        q, k, v = (
            y.view(b, t, c["heads"], -1).transpose(1, 2)
            for y in conv(norm(x, p + "ln_1"), p + "attn.c_attn").split(c["hidden"], -1)
        )
        x = x + conv(attend(q, k, v, None).transpose(1, 2).reshape(b, t, -1), p + "attn.c_proj")
        inner = torch.nn.functional.gelu(conv(norm(x, p + "ln_2"), p + "mlp.c_fc"), approximate="tanh")
        x = x + conv(inner, p + "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w["transformer.wte.weight" if c["tied"] else "lm_head.weight"].T


def initial(c):
    shapes = gpt2_shapes(c) if c["type"] == "gpt2" else decoder_shapes(c)
    out = {}
    for index, (name, shape) in enumerate(shapes):
        v = hashed(index, math.prod(shape)).view(shape)
        if len(shape) == 1:  # norm weights are near their usual initial values, and biases are small
            v = 0.2 * v + (0.0 if name.endswith("bias") or c["type"] == "gemma" else 1.0)
        else:
            v = v * 0.4
        # Rounds to float32, the type in which heddle stores weights.
        out[name] = v.float().double().requires_grad_(True)
    return out


def run(c):
    w = initial(c)
    forward = gpt2 if c["type"] == "gpt2" else decoder
    b, t = 2, c["positions"]
    ids = ((hashed(1000, b * (t + 1)) + 0.5) * c["vocab"]).floor().long().view(b, t + 1)
    x, y = ids[:, :-1], ids[:, 1:].clone()
    y[0, :3] = -100  # ignored positions

    def loss():
        return torch.nn.functional.cross_entropy(forward(c, w, x).reshape(-1, c["vocab"]), y.reshape(-1), ignore_index=-100)

    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in w.values() if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in w.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8,
    )
    gradients, losses, norms = {}, [], []
    for step in range(10):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        if step == 0:
            gradients = {n: {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()} for n, p in w.items()}
        norms.append(torch.nn.utils.clip_grad_norm_(w.values(), 1.0).item())
        optimizer.step()
    last = forward(c, {n: p.detach() for n, p in initial(c).items()}, x)[:, -1]
    return {
        "config": c, "ids": x.tolist(), "targets": y.tolist(), "logitsAtLast": last.tolist(),
        "gradients": gradients, "losses": losses, "gradNorms": norms,
    }


BASE = {"vocab": 48, "hidden": 32, "inner": 56, "layers": 2, "heads": 4, "kvHeads": 2, "headDim": 8, "positions": 24, "eps": 1e-5, "theta": 10000.0, "tied": True}
CASES = {
    "llama": {**BASE, "type": "llama"},
    "mistral": {**BASE, "type": "mistral", "window": 7, "headDim": 12, "tied": False},
    "qwen2": {**BASE, "type": "qwen2"},
    "qwen3": {**BASE, "type": "qwen3", "headDim": 16, "theta": 1000000.0},
    "gemma": {**BASE, "type": "gemma", "kvHeads": 1},
    "gpt2": {**BASE, "type": "gpt2", "kvHeads": 4, "inner": 128, "tied": False},
}
if __name__ == "__main__":
    print(json.dumps({name: run(c) for name, c in CASES.items()}))
