"""Plain Llama, GPT-2 and BERT in PyTorch, for the benches of training, of prefill and of encoders.

Attention is scaled_dot_product_attention. On a processor it gets f32 operands whatever the rest is in, because torch's fast path takes no
others and is 20 times faster than the slow one.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


def attend(q, k, v):
    gqa = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, **gqa)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True, **gqa).to(q.dtype)


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


class LlamaBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h, self.kv = c["hiddenSize"], c["numAttentionHeads"], c["numKeyValueHeads"]
        width = d // self.h
        self.norms = nn.ModuleList(nn.RMSNorm(d, eps=1e-5) for _ in range(2))
        self.qkv = nn.Linear(d, (self.h + 2 * self.kv) * width, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.gate_up = nn.Linear(d, 2 * c["intermediateSize"], bias=False)
        self.down = nn.Linear(c["intermediateSize"], d, bias=False)
        self.split = [self.h * width, self.kv * width, self.kv * width]

    def forward(self, x, cos, sin):
        q, k, v = self.qkv(self.norms[0](x)).split(self.split, -1)
        q, k, v = heads(q, self.h), heads(k, self.kv), heads(v, self.kv)
        rotate = lambda t: t * cos + torch.cat((-t[..., t.shape[-1] // 2 :], t[..., : t.shape[-1] // 2]), -1) * sin
        x = x + self.out(attend(rotate(q), rotate(k), v).transpose(1, 2).reshape(x.shape))
        gate, up = self.gate_up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, width = c["hiddenSize"], c["hiddenSize"] // c["numAttentionHeads"]
        self.embed = nn.Embedding(c["vocabSize"], d)
        self.blocks = nn.ModuleList(LlamaBlock(c) for _ in range(c["numHiddenLayers"]))
        self.norm = nn.RMSNorm(d, eps=1e-5)
        angle = torch.outer(torch.arange(c["tokens"]).float(), 10000.0 ** (-torch.arange(0, width, 2).float() / width))
        self.register_buffer("cos", torch.cat((angle, angle), -1).cos())
        self.register_buffer("sin", torch.cat((angle, angle), -1).sin())

    def forward(self, ids, last=False):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.linear(self.norm(x[:, -1:] if last else x), self.embed.weight)


class Gpt2Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h = c["hiddenSize"], c["numAttentionHeads"]
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        q, k, v = (heads(t, self.h) for t in self.qkv(self.norms[0](x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hiddenSize"]
        self.embed, self.positions = nn.Embedding(c["vocabSize"], d), nn.Embedding(c["tokens"], d)
        self.blocks = nn.ModuleList(Gpt2Block(c) for _ in range(c["numHiddenLayers"]))
        self.norm = nn.LayerNorm(d)

    def forward(self, ids):
        x = self.embed(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embed.weight)


class BertBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.h = c["hiddenSize"], c["numAttentionHeads"]
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, c["intermediateSize"]), nn.Linear(c["intermediateSize"], d)
        self.norms = nn.ModuleList(nn.LayerNorm(d, eps=1e-12) for _ in range(2))

    def forward(self, x, mask):
        # In f32, as attend has it: the fast path takes nothing else.
        q, k, v = (heads(t, self.h) for t in self.qkv(x).chunk(3, -1))
        with torch.autocast("cpu", enabled=False):
            said = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask).to(q.dtype)
        x = self.norms[0](x + self.out(said.transpose(1, 2).reshape(x.shape)))
        return self.norms[1](x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hiddenSize"]
        self.words, self.places = nn.Embedding(c["vocabSize"], d), nn.Embedding(c["maxPositionEmbeddings"], d)
        self.norm = nn.LayerNorm(d, eps=1e-12)
        self.blocks = nn.ModuleList(BertBlock(c) for _ in range(c["numHiddenLayers"]))

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, mask)
        return x
