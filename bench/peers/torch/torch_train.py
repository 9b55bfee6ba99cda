"""PyTorch's side of bench/suites/train.ts: plain Llama and GPT-2 training steps, f32 or bf16 autocast, fused AdamW."""
import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_models import Gpt2, Llama
from torch_peer import serve, status


def make(r):
    c = {**r["config"], "tokens": r["sequenceLength"]}
    model = {"llama": Llama, "gpt2": Gpt2}[c["modelType"]](c)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.arange(r["sequences"] * c["tokens"] + 1) * 7919 % c["vocabSize"]
    tokens, targets = ids[:-1].view(r["sequences"], -1), ids[1:]
    mixed = lambda: torch.autocast("cpu", torch.bfloat16) if r["dtype"] == "bf16" else contextlib.nullcontext()

    def run():
        with mixed():
            loss = F.cross_entropy(model(tokens).view(-1, c["vocabSize"]), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run, lambda: {"peakBytes": status("VmHWM"), "parameters": sum(p.numel() for p in model.parameters())}


serve(make)
