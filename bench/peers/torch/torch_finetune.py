"""PyTorch's side of bench/suites/finetune.ts: steps of LoRA on a plain Llama, and of all weights of a plain BERT under a head, f32 or bf16."""
import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_models import Bert, Llama
from torch_peer import serve, status


class Lora(nn.Module):
    """What PEFT makes of a linear layer: the frozen product, and a product of rank r beside it."""

    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.a, self.b = nn.Linear(base.in_features, r, bias=False), nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x))


def low_rank(r):
    c = {**r["config"], "tokens": r["sequenceLength"]}
    model = Llama(c)
    model.requires_grad_(False)
    if r["dtype"] == "bf16":
        model.bfloat16()
    for block in model.blocks:
        for name in ("qkv", "out", "gate_up", "down"):
            setattr(block, name, Lora(getattr(block, name), r["rank"]))
    ids = torch.arange(r["sequences"] * c["tokens"] + 1) * 7919 % c["vocabSize"]
    tokens, targets = ids[:-1].view(r["sequences"], -1), ids[1:]
    return model, lambda: F.cross_entropy(model(tokens).view(-1, c["vocabSize"]).float(), targets)


class Classifier(nn.Module):
    def __init__(self, c, labels):
        super().__init__()
        self.bert, self.pooler, self.head = Bert(c), nn.Linear(c["hiddenSize"], c["hiddenSize"]), nn.Linear(c["hiddenSize"], labels)

    def forward(self, ids):
        return self.head(torch.tanh(self.pooler(self.bert(ids, None)[:, 0])))


def texts(r):
    s, t = r["sequences"], r["sequenceLength"]
    return torch.arange(s * t).view(s, t) * 7919 % r["config"]["vocabSize"]


def classify(r):
    model, ids, labels = Classifier(r["config"], 4), texts(r), torch.arange(r["sequences"]) % 4
    return model, lambda: F.cross_entropy(model(ids).float(), labels)


def contrast(r):
    """In-batch negatives over mean-pooled texts: the first half are anchors, the second their positives."""
    model, ids = Bert(r["config"]), texts(r)

    def loss():
        pooled = F.normalize(model(ids, None).float().mean(1), dim=-1)
        anchors, positives = pooled.chunk(2)
        return F.cross_entropy(anchors @ positives.T / 0.05, torch.arange(len(anchors)))

    return model, loss


def make(r):
    model, loss = {"lora": low_rank, "classify": classify, "embed": contrast}[r["job"]](r)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    mixed = lambda: torch.autocast("cpu", torch.bfloat16) if r["dtype"] == "bf16" else contextlib.nullcontext()

    def run():
        with mixed():
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run, lambda: {"peakBytes": status("VmHWM"), "parameters": sum(p.numel() for p in trained)}


serve(make)
