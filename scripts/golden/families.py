#!/usr/bin/env python3
"""Golden values of the model families beyond scripts/golden/models.py: logits, greedy continuations and the gradients of a loss.

    /usr/bin/python3 scripts/golden/families.py > test/golden/families.json
    /usr/bin/python3 scripts/golden/families.py gpt_neox             # only names with this prefix
    /usr/bin/python3 scripts/golden/families.py --update gpt_neox    # replaces these models in the file

A file of scripts/golden/decoders has a family's configurations, CONFIGS, and its class if decoder.py does not compute it, MODELS. The
classes are written from papers or published definitions, in float64. Weights have their Hugging Face names, and their values are
computed from these names (`weight` in models.py). The file therefore has only the names and shapes of the weights.
"""
import importlib
import json
import math
import pathlib
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"families.py: {error}. apt-get install python3-torch installs PyTorch")

from decoder import Model

HERE = pathlib.Path(__file__).parent
FILE = HERE.parents[1] / "test" / "golden" / "families.json"
FAMILIES = [importlib.import_module(f"decoders.{file.stem}") for file in sorted((HERE / "decoders").glob("*.py"))]
# The classes of families that differ from decoder.py's Model by more than a configuration key, by model_type.
MODELS = {kind: model for family in FAMILIES for kind, model in getattr(family, "MODELS", {}).items()}
CONFIGS = {name: config for family in FAMILIES for name, config in family.CONFIGS.items()}
PROMPT = [7, 0, 23, 60, 5, 5, 41, 12, 33]
NEW = 24


def lengths_of(config, prompt, total):
    """Returns the length that the sequence had when each of its rows was computed, for dynamic scaling, which depends on it in transformers."""
    if (config.get("rope_scaling") or {}).get("rope_type") == "dynamic":
        return [max(prompt, i + 1) for i in range(total)]
    return None


def number(v):
    return float(f"{v:.7g}")


def golden(name, config):
    model = MODELS.get(config["model_type"], Model)(config)
    ids, margin, scores = list(PROMPT), math.inf, []
    with torch.no_grad():
        for _ in range(NEW):
            row = model.logits(ids, lengths_of(config, len(PROMPT), len(ids)))[-1]
            best = torch.topk(row, 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            scores.append(number(torch.log_softmax(row, -1).max()))
            ids.append(int(best.indices[0]))
    z = model.logits(ids[:16])
    loss = F.cross_entropy(z[:-1], torch.tensor(ids[1:16]))
    loss.backward()
    gradients = {
        n: {"norm": number(w.grad.norm()), "first": [number(v) for v in w.grad.flatten()[:4]]}
        for n, w in model.w.all.items() if w.grad is not None
    }
    return {
        "name": name, "config": config, "weights": {n: list(w.shape) for n, w in [*model.w.all.items(), *model.w.bytes.items()]},
        "prompt": PROMPT, "greedy": ids[len(PROMPT):], "logprobs": scores, "smallestMargin": float(f"{margin:.3g}"),
        "logits": [[number(v) for v in row] for row in z.tolist()], "loss": number(loss), "gradients": gradients,
    }


def as_lines(models):
    return "[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in models) + "\n]\n"


if __name__ == "__main__":
    update = sys.argv[1:2] == ["--update"]
    wanted = tuple(sys.argv[2 if update else 1:]) or ("",)
    made = {n: golden(n, c) for n, c in CONFIGS.items() if n.startswith(wanted)}
    if not made:
        sys.exit(f"families.py: no configuration of scripts/golden/decoders begins with {' or '.join(wanted)}")
    if update:
        kept = {m["name"]: m for m in json.loads(FILE.read_text())}
        FILE.write_text(as_lines([made.get(n) or kept[n] for n in CONFIGS]))
        print(f"updated {', '.join(made)}")
    else:
        sys.stdout.write(as_lines(made.values()))
