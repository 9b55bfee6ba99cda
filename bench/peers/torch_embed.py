"""PyTorch's side of bench/embed.ts: padded batches of texts through a plain BERT, f32 or bf16, to hidden states."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_models import heads
from torch_peer import serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h = c["hiddenSize"], c["numAttentionHeads"]
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, c["intermediateSize"]), nn.Linear(c["intermediateSize"], d)
        self.norms = nn.ModuleList(nn.LayerNorm(d, eps=1e-12) for _ in range(2))

    def forward(self, x, mask):
        # In f32, as torch_models.attend has it: the fast path takes nothing else.
        q, k, v = (heads(t, self.h).float() for t in self.qkv(x).chunk(3, -1))
        said = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).to(x.dtype)
        x = self.norms[0](x + self.out(said.transpose(1, 2).reshape(x.shape)))
        return self.norms[1](x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hiddenSize"]
        self.words, self.places = nn.Embedding(c["vocabSize"], d), nn.Embedding(c["maxPositionEmbeddings"], d)
        self.norm = nn.LayerNorm(d, eps=1e-12)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["numHiddenLayers"]))

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, mask)
        return x


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
