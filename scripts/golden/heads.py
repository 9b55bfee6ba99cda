"""Golden values of classification and contrastive steps, from an independent float64 implementation in PyTorch.

    python3 scripts/golden/heads.py > test/golden/heads.json

The models are those of training.py. Every sequence is computed alone and without padding. A padded batch in heddle must give the same
values. Each case has the norm and the first values of every gradient, and the losses of three AdamW steps.
"""
import json
import math

import torch
import torch.nn.functional as F

from training import CASES, decoder, gpt2, hashed, initial


def hidden(c, w, ids):
    """Returns the hidden states after the last norm, (T, width). An identity matrix as the head leaves them unchanged."""
    with_unit = {**w, "lm_head.weight": torch.eye(c["hidden"])}
    return (gpt2 if c["type"] == "gpt2" else decoder)({**c, "tied": False}, with_unit, ids[None])[0]


def pooled(c, w, ids, how):
    h = hidden(c, w, ids)
    return {"last": h[-1], "first": h[0], "mean": h.mean(0)}[how]


def texts(c, lengths, seed):
    return [((hashed(seed + i, n) + 0.5) * c["vocab"]).floor().long() for i, n in enumerate(lengths)]


def step_values(parameters, loss):
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters.values() if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8,
    )
    gradients, losses = {}, []
    for step in range(3):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        if step == 0:
            gradients = {n: {"norm": p.grad.norm().item(), "first": p.grad.flatten()[:4].tolist()} for n, p in parameters.items()}
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
    return {"gradients": gradients, "losses": losses}


def trunk(name):
    c = CASES[name]
    w = {n: p for n, p in initial(c).items() if n != "lm_head.weight"}
    return c, w


def head(c, w, labels, name="score", bias=False):
    w[name + ".weight"] = (0.4 * hashed(500, labels * c["hidden"]).view(labels, c["hidden"])).float().double().requires_grad_(True)
    if bias:
        w[name + ".bias"] = (0.2 * hashed(501, labels)).float().double().requires_grad_(True)
    return lambda x: F.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def sequence(name, how, problem, labels=3, weights=None, smoothing=0.0):
    c, w = trunk(name)
    score = head(c, w, labels)
    ids = texts(c, [24, 9, 15, 1], 2000)
    if problem == "single_label_classification":
        y = torch.tensor([2, 0, 1, 0])
    elif problem == "regression":
        y = torch.tensor([0.5, -1.25, 2.0, 0.0]).view(4, 1)
    else:
        y = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]])

    def loss():
        logits = torch.stack([score(pooled(c, w, i, how)) for i in ids])
        if problem == "regression":
            return F.mse_loss(logits, y)
        if problem == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, y)
        return F.cross_entropy(logits, y, weight=torch.tensor(weights) if weights else None, label_smoothing=smoothing)

    with torch.no_grad():
        logits = [score(pooled(c, w, i, how)).tolist() for i in ids]
    return {
        "trunk": name, "pooling": how, "problemType": problem, "labels": labels, "weights": weights, "smoothing": smoothing,
        "ids": [i.tolist() for i in ids], "targets": y.tolist(), "logits": logits, **step_values(w, loss),
    }


def token(name, head_name):
    c, w = trunk(name)
    score = head(c, w, 4, head_name, bias=True)
    ids = texts(c, [12, 7], 3000)
    # Positions of the labelled tokens: two in one text, three in the other. The loss ignores all other tokens.
    at, y = [[1, 5], [0, 3, 6]], [[3, 0], [1, 2, 2]]

    def loss():
        logits = torch.cat([score(hidden(c, w, i)[torch.tensor(a)]) for i, a in zip(ids, at)])
        return F.cross_entropy(logits, torch.tensor(sum(y, [])))

    return {"trunk": name, "labels": 4, "ids": [i.tolist() for i in ids], "at": at, "targets": y, **step_values(w, loss)}


def contrastive(name, how, temperature, negatives, equal=False, symmetric=False):
    """InfoNCE. If texts repeat in the batch, a candidate that is also correct for an anchor is masked out of its negatives."""
    c, w = trunk(name)
    anchors, positives = texts(c, [11, 5, 8], 4000), texts(c, [6, 14, 9], 4100)
    hard = texts(c, [7, 3, 10], 4200) if negatives else []
    if equal:
        # Pairs 0 and 2 have the same positive, 1 and 3 the same anchor. Positive 3 is anchor 0, and hard negative 1 is positive 0.
        anchors, positives = anchors + [anchors[1]], [positives[0], positives[1], positives[0], anchors[0]]
        hard = [hard[0], positives[0], hard[2], hard[1]]
    same = lambda a, b: a.tolist() == b.tolist()
    n = len(anchors)
    masked = torch.zeros(n, n + len(hard), dtype=torch.bool)
    for i in range(n):
        for j, text in enumerate(positives + hard):
            if j == i or j == n + i:
                continue
            right = [anchors[i]] + [positives[k] for k in range(n) if same(anchors[k], anchors[i])]
            masked[i, j] = any(same(text, r) for r in right)

    def loss():
        embed = lambda rows: F.normalize(torch.stack([pooled(c, w, i, how) for i in rows]), dim=-1)
        a, b = embed(anchors), embed(positives + hard)
        cosines = (a @ b.T).masked_fill(masked, -torch.inf) / temperature
        forwards = F.cross_entropy(cosines, torch.arange(n))
        return (forwards + F.cross_entropy(cosines[:, :n].T, torch.arange(n))) / 2 if symmetric else forwards

    return {
        "trunk": name, "pooling": how, "temperature": temperature, "symmetric": symmetric,
        "anchors": [i.tolist() for i in anchors], "positives": [i.tolist() for i in positives],
        "negatives": [i.tolist() for i in hard], **step_values(w, loss),
    }


if __name__ == "__main__":
    single = "single_label_classification"
    print(json.dumps({
        "sequence": {
            "last": sequence("llama", "last", single),
            "smoothed": sequence("qwen2", "last", single, weights=[0.5, 2.0, 1.25], smoothing=0.1),
            "weighted": sequence("llama", "last", single, weights=[0.5, 2.0, 1.25]),
            "mean": sequence("gpt2", "mean", single),
            "first": sequence("gemma", "first", single),
            "regression": sequence("qwen3", "last", "regression", labels=1),
            "multi-label": sequence("llama", "mean", "multi_label_classification"),
        },
        "token": {"llama": token("llama", "score"), "gpt2": token("gpt2", "classifier")},
        "contrastive": {
            "in-batch": contrastive("llama", "mean", 0.05, False),
            "hard negatives": contrastive("gpt2", "last", 0.1, True),
            "equal texts": contrastive("llama", "mean", 0.05, True, equal=True),
            "equal texts, both ways": contrastive("gpt2", "last", 0.1, True, equal=True, symmetric=True),
        },
    }))
