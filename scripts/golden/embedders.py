#!/usr/bin/env python3
"""Golden values of decoders that embed texts: hidden states, vectors, a contrastive loss and its gradients.

    python3 scripts/golden/embedders.py > test/golden/embedders.json

The decoders are those of families.py, in float64. Their configurations select causal or bidirectional attention. EmbeddingGemma
(Schechter Vera et al. 2025) has two dense layers after the mean. Qwen3-Embedding (Zhang et al. 2025) and E5-Mistral (Wang et al. 2024)
use the last token. gte-Qwen2 and models of LLM2Vec (BehnamGhader et al. 2024) are bidirectional. Weights are computed from their names
(`weight` in models.py). A gradient is described by its norm, its first elements, and its dot product with the weight named "<name> probe".
"""
import json
import sys

import torch
import torch.nn.functional as F

from decoder import Model, base
from families import number
from models import weight

torch.set_default_dtype(torch.float64)

GEMMA = base("gemma3_text", num_hidden_layers=6, head_dim=12, query_pre_attn_scalar=12, rope_theta=50000.0,
             rope_local_base_freq=500.0, tie_word_embeddings=True, hidden_activation="gelu_pytorch_tanh",
             use_bidirectional_attention=True, attn_logit_softcapping=None, final_logit_softcapping=None)
EMBEDDERS = {
    "embeddinggemma": {
        "config": {**GEMMA, "sliding_window": 8, "sliding_window_pattern": 6, "architectures": ["Gemma3TextModel"]},
        "pooling": "mean", "dense": [40, 32]},
    "embeddinggemma, an odd window, every second layer": {
        "config": {**GEMMA, "num_hidden_layers": 4, "sliding_window": 7, "architectures": ["Gemma3TextModel"],
                   "layer_types": ["sliding_attention", "full_attention"] * 2}, "pooling": "mean", "dense": [40, 32]},
    "qwen3": {"config": {**base("qwen3", head_dim=12), "architectures": ["Qwen3ForCausalLM"]}, "pooling": "lasttoken"},
    "mistral with a window": {
        "config": {**base("mistral", sliding_window=5), "architectures": ["MistralModel"]}, "pooling": "lasttoken"},
    "qwen2, both ways": {
        "config": {**base("qwen2", is_causal=False), "architectures": ["Qwen2ForCausalLM"]}, "pooling": "lasttoken"},
    "llama, both ways": {
        "config": {**base("llama", is_causal=False), "architectures": ["LlamaModel"]}, "pooling": "mean"},
}
# Two anchors, then the positive of each. The second and the last text are longer than the windows.
SEQUENCES = [[7, 0, 23, 60, 5], [(11 * i + 3) % 61 for i in range(21)], [40, 6, 31], [(7 * i + 5) % 61 for i in range(33)]]
TEMPERATURE = 0.5


def golden(name, config, pooling, dense=()):
    model = Model(config)
    hidden = [model.hidden(torch.tensor(ids), [len(ids)] * len(ids)) for ids in SEQUENCES]
    x = torch.stack([h.mean(0) if pooling == "mean" else h[-1] for h in hidden])
    for i, outputs in enumerate(dense):
        x = x @ model.w(f"{i + 2}_Dense.linear.weight", outputs, x.shape[-1]).T
    vectors = x / x.norm(dim=-1, keepdim=True)
    loss = F.cross_entropy(vectors[:2] @ vectors[2:].T / TEMPERATURE, torch.tensor([0, 1]))
    loss.backward()
    return {
        "name": name, "config": config, "pooling": pooling, "weights": {n: list(w.shape) for n, w in model.w.all.items()},
        "sequences": SEQUENCES, "hidden": [[[number(v) for v in row] for row in h.tolist()] for h in hidden],
        "vectors": [[number(v) for v in row] for row in vectors.tolist()], "temperature": TEMPERATURE, "loss": number(loss),
        "gradients": {n: {"norm": number(w.grad.norm()), "first": [number(v) for v in w.grad.flatten()[:4]],
                          "dot": number((w.grad * weight(f"{n} probe", w.shape)).sum())} for n, w in model.w.all.items()},
    }


if __name__ == "__main__":
    made = [golden(name, **entry) for name, entry in EMBEDDERS.items()]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in made) + "\n]\n")
