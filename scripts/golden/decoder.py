"""Shared by the models of families.py: weights computed from their names, norms, attention, and the decoder of Llama-like families."""
import math
import re

import torch
import torch.nn.functional as F

from models import fnv, hash32, weight
from rotary import rotate, turning

torch.set_default_dtype(torch.float64)


def base(kind, **more):
    """Returns a small configuration of a Llama-like family."""
    return {
        "model_type": kind, "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, **more,
    }


def by_parameters(config):
    """Converts a configuration to the dialect of transformers 5, which has `rope_parameters`."""
    theta = config.pop("rope_theta")
    return {**config, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}


class Weights:
    """The weights by their Hugging Face names. A weight is computed from its name at its first use."""

    def __init__(self, around=1.0):
        self.all, self.around, self.bytes = {}, around, {}

    def __call__(self, name, *shape):
        if name not in self.all:
            # Norm weights are around 1 (0 for Gemma), all others around 0. test/golden/families.ts has the same rule.
            norm = re.search(r"norm(s\.\d+)?\.weight$", name.lower())
            self.all[name] = weight(name, shape, self.around if norm else 0.0).requires_grad_(True)
        assert self.all[name].shape == torch.Size(shape), name
        return self.all[name]

    def mxfp4(self, name, experts, rows, inputs):
        """Returns the weights (experts, rows, inputs) that `name`_blocks and `name`_scales encode in MXFP4."""
        shapes = {"_blocks": (experts, rows, inputs // 32, 16), "_scales": (experts, rows, inputs // 32)}
        for suffix, shape in shapes.items():
            self.bytes[name + suffix] = byte_tensor(name + suffix, shape)
        return mxfp4(*(self.bytes[name + suffix] for suffix in shapes))


def byte_tensor(name, shape):
    """Returns pseudo-random bytes as integers. Bytes of MXFP4 scales encode 2^-8 to 2^-5."""
    count = math.prod(shape)
    bits = hash32((torch.arange(count, dtype=torch.int64) + fnv(name)) & 0xFFFFFFFF)
    return (119 + (bits >> 30) if name.endswith("_scales") else bits >> 24).reshape(shape)


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(blocks, scales):
    """Decodes OCP MXFP4: groups of 32 E2M1 numbers, two per byte with the low four bits first, times 2^(scale - 127)."""
    pairs = torch.stack([FP4[blocks & 15], FP4[blocks >> 4]], -1).flatten(-2)
    return (pairs * 2.0 ** (scales[..., None] - 127)).flatten(-2)


def rms(x, w, eps, offset=0.0):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * (offset + w)


def silu(x):
    return x * torch.sigmoid(x)


def attend(q, k, v, scale, window=None, cap=None, sinks=None, causal=True):
    """Attention of q (T, H, D) over k and v (T, KH, D). A sink is an additional score of each head without a value vector.

    Without a causal mask, distances must be below window // 2 + 1, as in transformers (configuration_gemma3.py,
    modeling_gemma3.py).
    """
    T, H, D = q.shape
    k, v = (x.repeat_interleave(H // x.shape[1], 1) for x in (k, v))
    scores = torch.einsum("ihd,jhd->hij", q, k) * scale
    if cap:
        scores = cap * torch.tanh(scores / cap)
    i, j = torch.arange(T)[:, None], torch.arange(T)[None, :]
    if causal:
        seen = (j <= i) & (j > i - window) if window else j <= i
    else:
        seen = (i - j).abs() < (window // 2 + 1 if window else T)
    scores = scores.masked_fill(~seen, -math.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks[:, None, None].expand(H, T, 1)], -1)
    p = torch.softmax(scores, -1)[..., :T]
    return torch.einsum("hij,jhd->ihd", p, v).reshape(T, H * D)


def layer_norm(x, w, b, eps):
    x = x - x.mean(-1, keepdim=True)
    y = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w
    return y if b is None else y + b


class Model:
    """Embedding, layers, last norm, head. `lengths` has each row's sequence length, for RoPE scalings that depend on it."""

    def __init__(self, config):
        self.c = config
        self.kind = config["model_type"]
        self.gemma = "gemma" in self.kind
        self.w = Weights(0.0 if self.gemma else 1.0)
        self.C, self.H = config["hidden_size"], config["num_attention_heads"]
        self.KH = config.get("num_key_value_heads") or self.H
        self.D = config.get("head_dim") or self.C // self.H
        self.L = config["num_hidden_layers"]
        self.causal = config.get("is_causal", True) and not config.get("use_bidirectional_attention", False)

    def norm(self, x, name, width=None):
        w = self.w(name + ".weight", width or self.C)
        return rms(x, w, self.c["rms_norm_eps"], 1.0 if self.gemma else 0.0)

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        biased = self.kind in ("qwen2", "qwen2_moe") and name.endswith(("q_proj", "k_proj", "v_proj"))
        biased = biased or (self.c.get("attention_bias") and "attn" in name) or name.endswith("mlp.router")
        return y + self.w(name + ".bias", outputs) if biased else y

    def layer_type(self, i):
        c = self.c
        if "layer_types" in c:
            return c["layer_types"][i]
        if self.kind in ("gemma2", "gpt_oss"):
            return "full_attention" if i % 2 else "sliding_attention"
        if self.kind == "gemma3_text":
            return "sliding_attention" if (i + 1) % c.get("sliding_window_pattern", 6) else "full_attention"
        if self.kind == "olmo3":
            return "sliding_attention" if (i + 1) % 4 else "full_attention"
        if self.kind in ("phi3", "mistral", "mixtral") and c.get("sliding_window"):
            return "sliding_attention"
        return "full_attention"

    def attention(self, x, i, lengths):
        c, H, KH, D = self.c, self.H, self.KH, self.D
        p = f"model.layers.{i}.self_attn."
        if self.kind == "phi3":
            qkv = self.linear(x, p + "qkv_proj", (H + 2 * KH) * D)
            q, k, v = qkv.split([H * D, KH * D, KH * D], -1)
        else:
            q, k, v = (self.linear(x, p + n + "_proj", h * D) for n, h in (("q", H), ("k", KH), ("v", KH)))
        if self.kind in ("olmo2", "olmo3", "olmoe"):  # one norm over all heads
            q, k = self.norm(q, p + "q_norm", H * D), self.norm(k, p + "k_norm", KH * D)
        q, k, v = (y.reshape(len(x), -1, D) for y in (q, k, v))
        if self.kind in ("qwen3", "qwen3_moe", "gemma3_text"):
            q, k = self.norm(q, p + "q_norm", D), self.norm(k, p + "k_norm", D)
        kind = self.layer_type(i)
        if not (self.kind == "smollm3" and self.rotates(i) == 0):
            turns = [turning(c, n, kind) for n in lengths]
            f, scale = torch.stack([t[0] for t in turns]), turns[0][1]
            positions = torch.arange(len(x), dtype=torch.float64)
            q, k = rotate(q, positions, f, scale), rotate(k, positions, f, scale)
        scale = 1 / math.sqrt(D)
        if "query_pre_attn_scalar" in c:
            scale = c["query_pre_attn_scalar"] ** -0.5
        if self.kind.startswith("granite"):
            scale = c["attention_multiplier"]
        window = c.get("sliding_window") if kind == "sliding_attention" else None
        o = attend(q, k, v, scale, window, c.get("attn_logit_softcapping"), self.sinks(i), self.causal)
        return self.linear(o, p + "o_proj", self.C)

    def sinks(self, i):
        return self.w(f"model.layers.{i}.self_attn.sinks", self.H) if self.kind == "gpt_oss" else None

    def experts(self, x, i):
        """Applies to each row its k most likely experts, one expert at a time."""
        c, C = self.c, self.C
        p = f"model.layers.{i}.{'block_sparse_moe' if self.kind in ('mixtral', 'granitemoe') else 'mlp'}."
        E, k = c.get("num_experts") or c["num_local_experts"], c["num_experts_per_tok"]
        logits = self.linear(x, p + {"gpt_oss": "router", "granitemoe": "router.layer"}.get(self.kind, "gate"), E)
        if self.kind not in ("gpt_oss", "granitemoe"):
            p_all, chosen = torch.topk(torch.softmax(logits, -1), k)
            shares = p_all / p_all.sum(-1, keepdim=True) if c.get("norm_topk_prob", self.kind == "mixtral") else p_all
        else:
            best, chosen = torch.topk(logits, k)
            shares = torch.softmax(best, -1)
        apply = [self.expert(p if self.kind == "granitemoe" else p + "experts.", e) for e in range(E)]
        rows = []
        for r in range(len(x)):
            rows.append(sum(shares[r, j] * apply[int(chosen[r, j])](x[r]) for j in range(k)))
        routed = torch.stack(rows)
        return routed + self.shared(x, p) if self.kind == "qwen2_moe" else routed

    def shared(self, x, p):
        """The shared expert, which all rows use, times its sigmoid gate."""
        n = self.c["shared_expert_intermediate_size"]
        gate, up = (self.linear(x, f"{p}shared_expert.{name}_proj", n) for name in ("gate", "up"))
        y = self.linear(silu(gate) * up, p + "shared_expert.down_proj", self.C)
        return torch.sigmoid(self.linear(x, p + "shared_expert_gate", 1)) * y

    def expert(self, p, e):
        c, C = self.c, self.C
        if self.kind == "granitemoe":  # one matrix per expert has the rows of gate, then those of up
            E, n = c["num_local_experts"], c["intermediate_size"]
            both, down = self.w(p + "input_linear.weight", E, 2 * n, C)[e], self.w(p + "output_linear.weight", E, C, n)[e]
            return lambda v: down @ (silu(both[:n] @ v) * (both[n:] @ v))
        if self.kind != "gpt_oss":
            n = c.get("moe_intermediate_size") or c["intermediate_size"]
            names = ("w1", "w3", "w2") if self.kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
            gate, up = (self.w(f"{p}{e}.{name}.weight", n, C) for name in names[:2])
            down = self.w(f"{p}{e}.{names[2]}.weight", C, n)
            return lambda v: down @ (silu(gate @ v) * (up @ v))
        E, n, limit = c["num_local_experts"], c["intermediate_size"], c.get("swiglu_limit", 7.0)
        if "quantization_config" in c:
            gate_up = self.w.mxfp4(p + "gate_up_proj", E, 2 * n, C)[e].T
            down = self.w.mxfp4(p + "down_proj", E, C, n)[e].T
        else:
            gate_up, down = self.w(p + "gate_up_proj", E, C, 2 * n)[e], self.w(p + "down_proj", E, n, C)[e]
        gate_up_bias, down_bias = self.w(p + "gate_up_proj_bias", E, 2 * n)[e], self.w(p + "down_proj_bias", E, C)[e]

        def forward(v):
            both = v @ gate_up + gate_up_bias
            gate, up = both[::2].clamp(max=limit), both[1::2].clamp(-limit, limit)
            return ((up + 1) * gate * torch.sigmoid(1.702 * gate)) @ down + down_bias

        return forward

    def sparse(self, i):
        return i not in self.c.get("mlp_only_layers", []) and (i + 1) % self.c.get("decoder_sparse_step", 1) == 0

    def rotates(self, i):
        return self.c["no_rope_layers"][i] if "no_rope_layers" in self.c else int((i + 1) % 4 != 0)

    def mlp(self, x, i):
        if self.kind in ("gpt_oss", "mixtral", "olmoe", "granitemoe") or (self.kind in ("qwen2_moe", "qwen3_moe") and self.sparse(i)):
            return self.experts(x, i)
        p, n = f"model.layers.{i}.mlp.", self.c["intermediate_size"]
        if self.kind == "phi3":
            gate, up = self.linear(x, p + "gate_up_proj", 2 * n).chunk(2, -1)
        else:
            gate, up = self.linear(x, p + "gate_proj", n), self.linear(x, p + "up_proj", n)
        act = F.gelu(gate, approximate="tanh") if self.gemma else silu(gate)
        return self.linear(act * up, p + "down_proj", self.C)

    def hidden(self, ids, lengths):
        c = self.c
        table = self.w("model.embed_tokens.weight", c["vocab_size"], self.C)
        x = table[ids] * (math.sqrt(self.C) if self.gemma else c.get("embedding_multiplier", 1.0))
        for i in range(self.L):
            n = f"model.layers.{i}."
            if self.kind in ("gemma2", "gemma3_text"):
                a = self.attention(self.norm(x, n + "input_layernorm"), i, lengths)
                x = x + self.norm(a, n + "post_attention_layernorm")
                m = self.mlp(self.norm(x, n + "pre_feedforward_layernorm"), i)
                x = x + self.norm(m, n + "post_feedforward_layernorm")
            elif self.kind in ("olmo2", "olmo3"):
                x = x + self.norm(self.attention(x, i, lengths), n + "post_attention_layernorm")
                x = x + self.norm(self.mlp(x, i), n + "post_feedforward_layernorm")
            else:
                r = c.get("residual_multiplier", 1.0)
                x = x + r * self.attention(self.norm(x, n + "input_layernorm"), i, lengths)
                x = x + r * self.mlp(self.norm(x, n + "post_attention_layernorm"), i)
        return self.norm(x, "model.norm")

    def head(self):
        return "model.embed_tokens.weight" if self.c["tie_word_embeddings"] else "lm_head.weight"

    def logits(self, ids, lengths=None):
        c = self.c
        x = self.hidden(torch.tensor(ids), lengths or [len(ids)] * len(ids))
        z = x @ self.w(self.head(), c["vocab_size"], self.C).T
        z = z / c.get("logits_scaling", 1.0)
        cap = c.get("final_logit_softcapping")
        return cap * torch.tanh(z / cap) if cap else z


class Neighbours(Model):
    """A decoder whose RoPE rotates pairs of adjacent dimensions, among the first R of each head."""

    def turn(self, x, lengths):
        f, _ = turning(self.c, lengths[-1])
        angles = torch.arange(len(x), dtype=torch.float64)[:, None, None] * f
        R = 2 * len(f)
        a, b = x[..., 0:R:2], x[..., 1:R:2]
        cos, sin = torch.cos(angles), torch.sin(angles)
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
        return torch.cat([turned, x[..., R:]], -1)
