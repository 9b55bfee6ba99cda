"""PyTorch's side of bench/suites/prefill.ts: a prompt through a plain Llama, f32 or bf16 weights, to the last token's logits."""
import torch

from torch_models import Llama
from torch_peer import serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def make(r):
    with torch.inference_mode():
        model = Llama({**r["config"], "tokens": r["tokens"]}).to(DTYPES[r["dtype"]])
        ids = (3 + torch.arange(r["tokens"]) * 7919 % 250)[None]

    def run():
        with torch.inference_mode():
            model(ids, last=True)

    return run


serve(make)
