#!/usr/bin/env python3
"""Golden values of encoders: hidden states, a classifier's logits, and the gradients of their weighted sum.

    python3 scripts/golden/encoders.py > test/golden/encoders.json

BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), DistilBERT (Sanh et al. 2019), ELECTRA (Clark et al. 2020), MPNet
(Song et al. 2020) and ModernBERT (Warner et al. 2024) are written from their papers, in float64. Weights have their Hugging Face
names, from which their values are computed (`weight` in models.py).
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

from decoder import Weights
from families import number
from rotary import rotate

torch.set_default_dtype(torch.float64)


def attend(q, k, v, window=None, bias=0):
    """Bidirectional attention of q, k, v (T, H, D), with bias (H, T, T). A window admits distances of at most window / 2."""
    T, H, D = q.shape
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(D) + bias
    if window:
        i = torch.arange(T)
        scores = scores.masked_fill((i[:, None] - i[None, :]).abs() > window // 2, -math.inf)
    return torch.einsum("hij,jhd->ihd", torch.softmax(scores, -1), v).reshape(T, H * D)


class Encoder:
    def __init__(self, config):
        self.c, self.w = config, Weights()
        self.C = config.get("hidden_size", config.get("dim"))
        self.H = config.get("num_attention_heads", config.get("n_heads"))

    def linear(self, x, name, outputs, bias=True):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if bias else y

    def norm(self, x, name, eps, bias=True):
        C = x.shape[-1]
        return F.layer_norm(x, (C,), self.w(name + ".weight", C), self.w(name + ".bias", C) if bias else None, eps)

    def heads(self, x):
        return x.reshape(len(x), self.H, -1)


class Bert(Encoder):
    PREFIX = "bert."
    LAYER = {"layer": "encoder.layer", "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
             "o": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense",
             "down": "output.dense", "norm2": "output.LayerNorm"}

    def sizes(self):
        c = self.c
        return c["num_hidden_layers"], c["intermediate_size"], c["layer_norm_eps"], c["hidden_act"]

    def positions(self, ids):
        return torch.arange(len(ids))

    def bias(self, length):
        return 0

    def embedded(self, ids, norm):
        c, C, p = self.c, self.c.get("embedding_size", self.C), self.PREFIX + "embeddings."
        x = self.w(p + "word_embeddings.weight", c["vocab_size"], C)[ids]
        x = x + self.w(p + "position_embeddings.weight", c["max_position_embeddings"], C)[self.positions(ids)]
        if "type_vocab_size" in c:
            x = x + self.w(p + "token_type_embeddings.weight", c["type_vocab_size"], C)[0]
        return norm(x, p + "LayerNorm")

    def hidden(self, ids):
        layers, inner, eps, act = self.sizes()
        C, name = self.C, self.LAYER
        norm = lambda x, name: self.norm(x, name, eps)
        x = self.embedded(ids, norm)
        for i in range(layers):
            n = f"{self.PREFIX}{name['layer']}.{i}."
            q, k, v = (self.heads(self.linear(x, n + name[m], C)) for m in "qkv")
            x = norm(x + self.linear(attend(q, k, v, bias=self.bias(len(ids))), n + name["o"], C), n + name["norm1"])
            up = F.gelu(self.linear(x, n + name["up"], inner), approximate="none" if act == "gelu" else "tanh")
            x = norm(x + self.linear(up, n + name["down"], C), n + name["norm2"])
        return x

    def classify(self, hidden):
        x = torch.tanh(self.linear(hidden[0], "bert.pooler.dense", self.C))
        return self.linear(x, "classifier", len(self.c["id2label"]))


class Roberta(Bert):
    PREFIX = "roberta."

    def positions(self, ids):
        """Numbers the tokens that are not padding, from pad + 1 on. Padding has position pad."""
        pad = self.c["pad_token_id"]
        real = (ids != pad).to(torch.int64)
        return torch.cumsum(real, 0) * real + pad

    def classify(self, hidden):
        if self.c["architectures"][0].endswith("ForTokenClassification"):
            return self.linear(hidden, "classifier", len(self.c["id2label"]))
        x = torch.tanh(self.linear(hidden[0], "classifier.dense", self.C))
        return self.linear(x, "classifier.out_proj", len(self.c["id2label"]))


class Electra(Bert):
    PREFIX = "electra."

    def embedded(self, ids, norm):
        return self.linear(super().embedded(ids, norm), "electra.embeddings_project", self.C)

    def classify(self, hidden):
        x = F.gelu(self.linear(hidden[0], "classifier.dense", self.C))
        return self.linear(x, "classifier.out_proj", len(self.c["id2label"]))


def bucket(distance):
    """T5's 32 bidirectional buckets for distances up to 128. `distance` is key minus query. The logarithm is computed in float32."""
    far = distance.abs()
    log = torch.log(far.clamp(min=1).float() / 8) / math.log(128 / 8)
    large = (8 + (log * 8).to(torch.int64)).clamp(max=15)
    return (distance > 0) * 16 + torch.where(far < 8, far, large)


class MPNet(Roberta):
    PREFIX = "mpnet."
    LAYER = {**Bert.LAYER, **{m: "attention.attn." + m for m in "qkvo"}, "norm1": "attention.LayerNorm"}

    def positions(self, ids):
        return torch.arange(len(ids)) + 2

    def bias(self, length):
        i = torch.arange(length)
        table = self.w("mpnet.encoder.relative_attention_bias.weight", 32, self.H)
        return table[bucket(i[None, :] - i[:, None])].permute(2, 0, 1)


class DistilBert(Bert):
    PREFIX = "distilbert."
    LAYER = {"layer": "transformer.layer", "q": "attention.q_lin", "k": "attention.k_lin", "v": "attention.v_lin",
             "o": "attention.out_lin", "norm1": "sa_layer_norm", "up": "ffn.lin1", "down": "ffn.lin2",
             "norm2": "output_layer_norm"}

    def sizes(self):
        return self.c["n_layers"], self.c["hidden_dim"], 1e-12, self.c["activation"]

    def classify(self, hidden):
        x = F.relu(self.linear(hidden[0], "pre_classifier", self.C))
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
ROBERTA = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 26, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2, **LABELS}
CONFIGS["roberta"] = {"model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], **ROBERTA}
CONFIGS["xlm-roberta"] = {
    "model_type": "xlm-roberta", "architectures": ["XLMRobertaForTokenClassification"], **ROBERTA, "pad_token_id": 4,
    "hidden_act": "gelu_new", "type_vocab_size": 2}
CONFIGS["distilbert"] = {
    "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"], "vocab_size": 61, "dim": 24,
    "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 24, "activation": "gelu",
    "sinusoidal_pos_embds": False, "seq_classif_dropout": 0.2, "pad_token_id": 0, **LABELS}
CONFIGS["electra"] = {
    "model_type": "electra", "architectures": ["ElectraForSequenceClassification"], **ROBERTA, "embedding_size": 16,
    "max_position_embeddings": 24, "pad_token_id": 0, "type_vocab_size": 2}
CONFIGS["mpnet"] = {
    "model_type": "mpnet", "architectures": ["MPNetForSequenceClassification"], **ROBERTA, "max_position_embeddings": 50,
    "relative_attention_num_buckets": 32}
del CONFIGS["mpnet"]["type_vocab_size"]
SEQUENCES = [[7, 0, 23, 60, 5, 5, 41, 12, 33, 8, 19, 2, 44, 27, 50, 1, 9], [3, 58, 14], [40, 6, 6, 31, 22, 11, 47, 10, 35]]
COEFFICIENTS = [0.7, -1.1, 0.4]


MODELS = {"bert": Bert, "modernbert": ModernBert, "roberta": Roberta, "xlm-roberta": Roberta, "distilbert": DistilBert,
          "electra": Electra, "mpnet": MPNet}


def sequences(config):
    """Returns texts without padding. Except for BERT and ModernBERT, the last text is as long as the position embeddings allow."""
    if config["model_type"] in ("bert", "modernbert"):
        return SEQUENCES
    first_position = config["pad_token_id"] + 1 if issubclass(MODELS[config["model_type"]], Roberta) else 0
    longest = [(i * 7 + 5) % 61 for i in range(config["max_position_embeddings"] - first_position)]
    return [[13 if first_position and i == config["pad_token_id"] else i for i in ids] for ids in [*SEQUENCES, longest]]


def golden(name, config):
    model = MODELS[config["model_type"]](config)
    texts = sequences(config)
    hidden = [model.hidden(torch.tensor(ids)) for ids in texts]
    logits = [model.classify(h) for h in hidden]  # (labels), or (tokens, labels) if it classifies tokens
    sum((row * torch.tensor(COEFFICIENTS)).sum() for row in logits).backward()
    return {
        "name": name, "config": config, "weights": {n: list(w.shape) for n, w in model.w.all.items()},
        "sequences": texts, "hidden": [[[number(v) for v in row] for row in h.tolist()] for h in hidden],
        "logits": [[number(v) for v in row.flatten().tolist()] for row in logits], "coefficients": COEFFICIENTS,
        "gradients": {n: {"norm": number(w.grad.norm()), "first": [number(v) for v in w.grad.flatten()[:4]]}
                      for n, w in model.w.all.items()},
        **({"buckets": bucket(torch.arange(-600, 601)).tolist()} if name == "mpnet" else {}),
    }


if __name__ == "__main__":
    models = [golden(n, c) for n, c in CONFIGS.items()]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in models) + "\n]\n")
