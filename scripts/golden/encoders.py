#!/usr/bin/env python3
"""Golden values of encoders: hidden states, a classifier's logits, the gradients of their weighted sum.

    python3 scripts/golden/encoders.py > test/golden/encoders.json

BERT (Devlin et al. 2019) and ModernBERT (Warner et al. 2024) from their papers, in float64, under official names; weights
follow from their names (`weight` in models.py).
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

from families import Weights, number
from rotary import rotate

torch.set_default_dtype(torch.float64)


def attend(q, k, v, window=None):
    """q, k, v (T, H, D), both ways; with a window, positions at most window / 2 apart."""
    T, H, D = q.shape
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(D)
    if window:
        i = torch.arange(T)
        scores = scores.masked_fill((i[:, None] - i[None, :]).abs() > window // 2, -math.inf)
    return torch.einsum("hij,jhd->ihd", torch.softmax(scores, -1), v).reshape(T, H * D)


class Encoder:
    def __init__(self, config):
        self.c, self.w = config, Weights()
        self.C, self.H = config["hidden_size"], config["num_attention_heads"]

    def linear(self, x, name, outputs, bias=True):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if bias else y

    def norm(self, x, name, eps, bias=True):
        w = self.w(name + ".weight", self.C)
        return F.layer_norm(x, (self.C,), w, self.w(name + ".bias", self.C) if bias else None, eps)

    def heads(self, x):
        return x.reshape(len(x), self.H, -1)


class Bert(Encoder):
    def hidden(self, ids):
        c, C, p = self.c, self.C, "bert.embeddings."
        norm = lambda x, name: self.norm(x, name, c["layer_norm_eps"])
        x = self.w(p + "word_embeddings.weight", c["vocab_size"], C)[ids]
        x = x + self.w(p + "position_embeddings.weight", c["max_position_embeddings"], C)[: len(ids)]
        x = norm(x + self.w(p + "token_type_embeddings.weight", c["type_vocab_size"], C)[0], p + "LayerNorm")
        for i in range(c["num_hidden_layers"]):
            n = f"bert.encoder.layer.{i}."
            q, k, v = (self.heads(self.linear(x, f"{n}attention.self.{m}", C)) for m in ("query", "key", "value"))
            x = norm(x + self.linear(attend(q, k, v), n + "attention.output.dense", C), n + "attention.output.LayerNorm")
            inner = F.gelu(self.linear(x, n + "intermediate.dense", c["intermediate_size"]))
            x = norm(x + self.linear(inner, n + "output.dense", C), n + "output.LayerNorm")
        return x

    def classify(self, hidden):
        x = torch.tanh(self.linear(hidden[0], "bert.pooler.dense", self.C))
        return self.linear(x, "classifier", len(self.c["id2label"]))


class ModernBert(Encoder):
    def hidden(self, ids):
        c, C, n = self.c, self.C, self.c["intermediate_size"]
        norm = lambda x, name: self.norm(x, "model." + name, c["norm_eps"], bias=False)
        D = C // self.H
        x = norm(self.w("model.embeddings.tok_embeddings.weight", c["vocab_size"], C)[ids], "embeddings.norm")
        positions = torch.arange(len(ids), dtype=torch.float64)
        for i in range(c["num_hidden_layers"]):
            p = f"layers.{i}."
            full = i % c["global_attn_every_n_layers"] == 0
            theta = c["global_rope_theta"] if full else c["local_rope_theta"]
            f = theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
            y = x if i == 0 else norm(x, p + "attn_norm")
            q, k, v = (self.heads(z) for z in self.linear(y, f"model.{p}attn.Wqkv", 3 * C, bias=False).chunk(3, -1))
            o = attend(rotate(q, positions, f, 1.0), rotate(k, positions, f, 1.0), v, None if full else c["local_attention"])
            x = x + self.linear(o, f"model.{p}attn.Wo", C, bias=False)
            act, gate = self.linear(norm(x, p + "mlp_norm"), f"model.{p}mlp.Wi", 2 * n, bias=False).chunk(2, -1)
            x = x + self.linear(F.gelu(act) * gate, f"model.{p}mlp.Wo", C, bias=False)
        return norm(x, "final_norm")

    def classify(self, hidden):
        pooled = hidden.mean(0) if self.c["classifier_pooling"] == "mean" else hidden[0]
        x = self.norm(F.gelu(self.linear(pooled, "head.dense", self.C, bias=False)), "head.norm", self.c["norm_eps"], False)
        return self.linear(x, "classifier", len(self.c["id2label"]))


LABELS = {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
CONFIGS = {
    "bert": {
        "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 61, "hidden_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 48,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", **LABELS},
    "modernbert": {
        "model_type": "modernbert", "architectures": ["ModernBertForSequenceClassification"], "vocab_size": 61,
        "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 20,
        "max_position_embeddings": 64, "norm_eps": 1e-5, "norm_bias": False, "hidden_activation": "gelu",
        "global_attn_every_n_layers": 3, "local_attention": 6, "global_rope_theta": 160000.0,
        "local_rope_theta": 1000.0, "classifier_pooling": "mean", **LABELS},
}
SEQUENCES = [[7, 0, 23, 60, 5, 5, 41, 12, 33, 8, 19, 2, 44, 27, 50, 1, 9], [3, 58, 14], [40, 6, 6, 31, 22, 11, 47, 10, 35]]
COEFFICIENTS = [0.7, -1.1, 0.4]


def golden(name, config):
    model = {"bert": Bert, "modernbert": ModernBert}[config["model_type"]](config)
    hidden = [model.hidden(torch.tensor(ids)) for ids in SEQUENCES]
    logits = torch.stack([model.classify(h) for h in hidden])
    (logits * torch.tensor(COEFFICIENTS)).sum().backward()
    return {
        "name": name, "config": config, "weights": {n: list(w.shape) for n, w in model.w.all.items()},
        "sequences": SEQUENCES, "hidden": [[[number(v) for v in row] for row in h.tolist()] for h in hidden],
        "logits": [[number(v) for v in row] for row in logits.tolist()], "coefficients": COEFFICIENTS,
        "gradients": {n: {"norm": number(w.grad.norm()), "first": [number(v) for v in w.grad.flatten()[:4]]}
                      for n, w in model.w.all.items()},
    }


if __name__ == "__main__":
    models = [golden(n, c) for n, c in CONFIGS.items()]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in models) + "\n]\n")
