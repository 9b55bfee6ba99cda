"""PyTorch's side of bench/suites/embed.ts: padded batches of texts through a plain BERT, f32 or bf16, to hidden states."""
import torch

from torch_models import Bert
from torch_peer import serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def padded(batch):
    longest = max(len(ids) for ids in batch)
    ids = torch.tensor([sequence + [0] * (longest - len(sequence)) for sequence in batch])
    seen = torch.tensor([[True] * len(sequence) + [False] * (longest - len(sequence)) for sequence in batch])
    # A mask where nothing is masked would keep a single text from the fast path.
    return ids, None if seen.all() else seen[:, None, None, :]


def make(r):
    with torch.inference_mode():
        model = Bert(r["config"]).to(DTYPES[r["dtype"]])
        batches = [padded(batch) for batch in r["batches"]]

    def run():
        with torch.inference_mode():
            for ids, mask in batches:
                model(ids, mask)

    return run


serve(make)
