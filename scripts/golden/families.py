#!/usr/bin/env python3
"""Golden values of the model families beyond scripts/golden/models.py: logits, greedy continuations, a loss's gradients.

    python3 scripts/golden/families.py > test/golden/families.json
    python3 scripts/golden/families.py gpt_neox    # those of the names that begin so, as lines of it

Each family is written from its paper or its published definition, in float64, over weights under their official names, whose
values follow from the names (`weight` in models.py): the file holds names and shapes, no values.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F

from models import fnv, hash32, weight
from rotary import rotate, turning

torch.set_default_dtype(torch.float64)


class Weights:
    """Weights by official name, made when they are first asked for."""

    def __init__(self, around=1.0):
        self.all, self.around, self.bytes = {}, around, {}

    def __call__(self, name, *shape):
        if name not in self.all:
            norm = len(shape) == 1 and name.lower().endswith("norm.weight")
            self.all[name] = weight(name, shape, self.around if norm else 0.0).requires_grad_(True)
        assert self.all[name].shape == torch.Size(shape), name
        return self.all[name]

    def mxfp4(self, name, experts, rows, inputs):
        """(experts, rows, inputs) from `name`_blocks and `name`_scales."""
        shapes = {"_blocks": (experts, rows, inputs // 32, 16), "_scales": (experts, rows, inputs // 32)}
        for suffix, shape in shapes.items():
            self.bytes[name + suffix] = byte_tensor(name + suffix, shape)
        return mxfp4(*(self.bytes[name + suffix] for suffix in shapes))


def byte_tensor(name, shape):
    """Whole numbers of 8 bits; scales of MXFP4 around 2^-6."""
    count = math.prod(shape)
    bits = hash32((torch.arange(count, dtype=torch.int64) + fnv(name)) & 0xFFFFFFFF)
    return (119 + (bits >> 30) if name.endswith("_scales") else bits >> 24).reshape(shape)


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(blocks, scales):
    """OCP MXFP4: groups of 32 E2M1 numbers, two a byte with the lower half first, times 2^(scale - 127)."""
    pairs = torch.stack([FP4[blocks & 15], FP4[blocks >> 4]], -1).flatten(-2)
    return (pairs * 2.0 ** (scales[..., None] - 127)).flatten(-2)


def rms(x, w, eps, offset=0.0):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * (offset + w)


def silu(x):
    return x * torch.sigmoid(x)


def attend(q, k, v, scale, window=None, cap=None, sinks=None, causal=True):
    """q (T, H, D), k and v (T, KH, D); a sink is one more score of each head that no value answers.

    Both ways, a window is what transformers makes of it (configuration_gemma3.py, modeling_gemma3.py): half of it and one, which
    distances stay below.
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
    """Embedding, layers, last norm, head. `rows` gives each row's sequence length (for scalings that depend on it)."""

    def __init__(self, config):
        self.c = config
        self.kind = config["model_type"]
        self.gemma = self.kind.startswith("gemma")
        self.w = Weights(0.0 if self.gemma else 1.0)
        self.C, self.H, self.KH = config["hidden_size"], config["num_attention_heads"], config.get("num_key_value_heads")
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
        if self.kind in ("olmo2", "olmo3", "olmoe"):  # over the whole width
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
        """Each row through its likeliest experts, one by one."""
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
        say = [self.expert(p if self.kind == "granitemoe" else p + "experts.", e) for e in range(E)]
        rows = []
        for r in range(len(x)):
            rows.append(sum(shares[r, j] * say[int(chosen[r, j])](x[r]) for j in range(k)))
        routed = torch.stack(rows)
        return routed + self.shared(x, p) if self.kind == "qwen2_moe" else routed

    def shared(self, x, p):
        """The expert that is every row's, by a share of its own."""
        n = self.c["shared_expert_intermediate_size"]
        gate, up = (self.linear(x, f"{p}shared_expert.{name}_proj", n) for name in ("gate", "up"))
        said = self.linear(silu(gate) * up, p + "shared_expert.down_proj", self.C)
        return torch.sigmoid(self.linear(x, p + "shared_expert_gate", 1)) * said

    def expert(self, p, e):
        c, C = self.c, self.C
        if self.kind == "granitemoe":  # gate, and up behind it, in one matrix an expert
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

        def say(v):
            both = v @ gate_up + gate_up_bias
            gate, up = both[::2].clamp(max=limit), both[1::2].clamp(-limit, limit)
            return ((up + 1) * gate * torch.sigmoid(1.702 * gate)) @ down + down_bias

        return say

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


class NeoX(Model):
    """GPT-NeoX (Black et al. 2022): the stream gets attention of one norm of it and the feed-forward block of another."""

    def biased(self, x, name, outputs, bias=True):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if bias else y

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def attention(self, x, n, lengths):
        T, H, D, bias = len(x), self.H, self.D, self.c.get("attention_bias", True)
        qkv = self.biased(x, n + "attention.query_key_value", 3 * self.C, bias).reshape(T, H, 3, D)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        given = self.c.get("rope_parameters") or {
            "rope_theta": self.c["rotary_emb_base"], "partial_rotary_factor": self.c["rotary_pct"]}
        f, scale = turning({**self.c, "rope_parameters": {"rope_type": "default", **given}}, T)
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.biased(o, n + "attention.dense", self.C, bias)

    def mlp(self, x, n):
        inner = self.biased(x, n + "mlp.dense_h_to_4h", self.c["intermediate_size"])
        inner = F.gelu(inner, approximate="none" if self.c["hidden_act"] == "gelu" else "tanh")
        return self.biased(inner, n + "mlp.dense_4h_to_h", self.C)

    def hidden(self, ids, lengths):
        x = self.w("gpt_neox.embed_in.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"gpt_neox.layers.{i}."
            a = self.attention(self.norm(x, n + "input_layernorm"), n, lengths)
            if self.c["use_parallel_residual"]:
                x = x + a + self.mlp(self.norm(x, n + "post_attention_layernorm"), n)
            else:
                x = x + a
                x = x + self.mlp(self.norm(x, n + "post_attention_layernorm"), n)
        return self.norm(x, "gpt_neox.final_layer_norm")

    def head(self):
        return "gpt_neox.embed_in.weight" if self.c["tie_word_embeddings"] else "embed_out.weight"


class StarCoder2(Model):
    """StarCoder 2 (Lozhkov et al. 2024)."""

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["norm_epsilon"])

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        return y + self.w(name + ".bias", outputs) if self.c["use_bias"] else y

    def layer_type(self, i):
        return "sliding_attention" if self.c.get("sliding_window") else "full_attention"

    def mlp(self, x, i):
        p = f"model.layers.{i}.mlp."
        inner = F.gelu(self.linear(x, p + "c_fc", self.c["intermediate_size"]), approximate="tanh")
        return self.linear(inner, p + "c_proj", self.C)


class Neighbours(Model):
    """The first R dimensions of a head turn as pairs of neighbours."""

    def turn(self, x, lengths):
        f, _ = turning(self.c, lengths[-1])
        angles = torch.arange(len(x), dtype=torch.float64)[:, None, None] * f
        R = 2 * len(f)
        a, b = x[..., 0:R:2], x[..., 1:R:2]
        cos, sin = torch.cos(angles), torch.sin(angles)
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
        return torch.cat([turned, x[..., R:]], -1)


class Ernie45(Neighbours):
    """ERNIE 4.5, a dense one."""

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        o = attend(self.turn(q, lengths), self.turn(k, lengths), v, 1 / math.sqrt(self.D))
        return self.linear(o, p + "o_proj", self.C)


class Cohere(Neighbours):
    """Command R, and R7B: both blocks read one norm, without a bias, of the stream. In R7B layers without a window do not turn."""

    def layer_type(self, i):
        return "sliding_attention" if self.kind == "cohere2" and (i + 1) % 4 else "full_attention"

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        slides = self.layer_type(i) == "sliding_attention"
        if slides or self.kind == "cohere":
            q, k = self.turn(q, lengths), self.turn(k, lengths)
        o = attend(q, k, v, 1 / math.sqrt(self.D), self.c["sliding_window"] if slides else None)
        return self.linear(o, p + "o_proj", self.C)

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), None, self.c["layer_norm_eps"])

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            y = self.norm(x, f"model.layers.{i}.input_layernorm")
            x = x + self.attention(y, i, lengths) + self.mlp(y, i)
        return self.norm(x, "model.norm")

    def logits(self, ids, lengths=None):
        return super().logits(ids, lengths) * self.c["logit_scale"]


class Glm4(Neighbours):
    """GLM 4 (0414): a norm before and one behind each block."""

    def biased(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, self.C).T
        return y + self.w(name + ".bias", outputs) if self.c.get("attention_bias") else y

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.biased(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        o = attend(self.turn(q, lengths), self.turn(k, lengths), v, 1 / math.sqrt(self.D))
        return o @ self.w(p + "o_proj.weight", self.C, self.H * self.D).T

    def hidden(self, ids, lengths):
        c = self.c
        x = self.w("model.embed_tokens.weight", c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            a = self.attention(self.norm(x, n + "input_layernorm"), i, lengths)
            x = x + self.norm(a, n + "post_self_attn_layernorm")
            y = self.norm(x, n + "post_attention_layernorm")
            gate, up = self.linear(y, n + "mlp.gate_up_proj", 2 * c["intermediate_size"]).chunk(2, -1)
            m = self.linear(silu(gate) * up, n + "mlp.down_proj", self.C)
            x = x + self.norm(m, n + "post_mlp_layernorm")
        return self.norm(x, "model.norm")


MODELS = {"gpt_neox": NeoX, "starcoder2": StarCoder2, "glm4": Glm4, "cohere": Cohere, "cohere2": Cohere, "ernie4_5": Ernie45}


def base(kind, **more):
    return {
        "model_type": kind, "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, **more,
    }


def base_neox(**more):
    return {
        "model_type": "gpt_neox", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 64, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "use_parallel_residual": True, "tie_word_embeddings": False, **more,
    }
def by_parameters(config):
    """The dialect of transformers 5."""
    theta = config.pop("rope_theta")
    return {**config, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}


FACTORS = {"short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5], "long_factor": [1.0, 1.4, 2.0, 3.1, 4.5, 6.0]}
NEW_DIALECT = base("gemma3_text", num_hidden_layers=3, head_dim=12, tie_word_embeddings=True, sliding_window=5,
                   hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=12,
                   layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                   rope_parameters={
                       "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 50000.0},
                       "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}})
del NEW_DIALECT["rope_theta"]
# Contexts long enough that the ramp's ends lie among the pairs, at no whole number.
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
CONFIGS = {
    "gemma2": base("gemma2", num_hidden_layers=3, head_dim=10, query_pre_attn_scalar=24, sliding_window=5,
                   attn_logit_softcapping=3.0, final_logit_softcapping=4.0, tie_word_embeddings=True,
                   hidden_activation="gelu_pytorch_tanh"),
    "gemma3": base("gemma3_text", num_hidden_layers=3, head_dim=12, query_pre_attn_scalar=20, sliding_window=5,
                   sliding_window_pattern=3, rope_theta=50000.0, rope_local_base_freq=500.0,
                   rope_scaling={"rope_type": "linear", "factor": 8.0}, tie_word_embeddings=True,
                   attn_logit_softcapping=None, final_logit_softcapping=None,
                   hidden_activation="gelu_pytorch_tanh"),
    "gemma3 by layer type": NEW_DIALECT,
    "granite": base("granite", embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
                    logits_scaling=8.0, tie_word_embeddings=True),
    "granitemoe": base("granitemoe", intermediate_size=20, num_local_experts=6, num_experts_per_tok=2,
                       embedding_multiplier=12.0, attention_multiplier=0.0625, residual_multiplier=0.22,
                       logits_scaling=6.0, tie_word_embeddings=True),
    "granitemoe, its newer dialect": by_parameters(base(
        "granitemoe", head_dim=12, intermediate_size=12, num_local_experts=5, num_experts_per_tok=3,
        attention_multiplier=0.2, embedding_multiplier=1.5)),
    "olmo2": base("olmo2", rope_theta=500000.0),
    "olmo3": base("olmo3", num_hidden_layers=5, head_dim=16, rope_theta=500000.0, sliding_window=5, rope_scaling=YARN),
    "olmo3 by layer type": base("olmo3", num_hidden_layers=3, sliding_window=4,
                                layer_types=["full_attention", "sliding_attention", "full_attention"], rope_parameters={
                                    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
                                    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}),
    "phi3": base("phi3", sliding_window=6),
    "phi3 with longrope": base("phi3", head_dim=16, partial_rotary_factor=0.75, original_max_position_embeddings=12,
                               rope_scaling={"type": "longrope", "rope_type": "longrope", **FACTORS}),
    "smollm3": base("smollm3", num_hidden_layers=5, tie_word_embeddings=True),
    "smollm3 with a window": base("smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1], sliding_window=5,
                                  layer_types=["full_attention", "sliding_attention", "full_attention"],
                                  use_sliding_window=True),
    "qwen3_moe": base("qwen3_moe", head_dim=16, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=20,
                      norm_topk_prob=True),
    "qwen3_moe, every second layer": base("qwen3_moe", num_hidden_layers=4, num_experts=5, num_experts_per_tok=3,
                                          moe_intermediate_size=12, decoder_sparse_step=2, mlp_only_layers=[3],
                                          norm_topk_prob=False),
    "qwen2_moe": base("qwen2_moe", num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12, norm_topk_prob=False,
                      shared_expert_intermediate_size=28, use_sliding_window=False, sliding_window=5),
    "qwen2_moe, every second layer, in rope_parameters": by_parameters(base(
        "qwen2_moe", num_hidden_layers=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=16,
        norm_topk_prob=True, shared_expert_intermediate_size=20, decoder_sparse_step=2, mlp_only_layers=[3],
        qkv_bias=True)),
    "mixtral": base("mixtral", num_local_experts=5, num_experts_per_tok=2, rope_theta=1000000.0, sliding_window=None),
    "mixtral with a window, in rope_parameters": by_parameters(base(
        "mixtral", head_dim=12, num_local_experts=4, num_experts_per_tok=3, rope_theta=50000.0, sliding_window=5)),
    "olmoe": base("olmoe", num_key_value_heads=4, intermediate_size=20, num_experts=6, num_experts_per_tok=3,
                  norm_topk_prob=False, clip_qkv=None),
    "olmoe with shares of one, in rope_parameters": by_parameters(base(
        "olmoe", intermediate_size=12, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True)),
    "gpt_oss": base("gpt_oss", head_dim=16, num_local_experts=5, num_experts_per_tok=2, intermediate_size=24,
                    attention_bias=True, sliding_window=5, rope_theta=150000.0, swiglu_limit=0.4, rope_scaling={
                        "rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False,
                        "original_max_position_embeddings": 1024}),
    "gpt_oss in MXFP4": base("gpt_oss", head_dim=16, num_local_experts=3, num_experts_per_tok=2, intermediate_size=64,
                             attention_bias=True, sliding_window=5, rope_theta=150000.0,
                             quantization_config={"quant_method": "mxfp4"}),
    "llama with linear scaling": base("llama", rope_scaling={"type": "linear", "rope_type": "linear", "factor": 3.0}),
    "llama with dynamic scaling": base("llama", max_position_embeddings=12,
                                       rope_scaling={"rope_type": "dynamic", "factor": 4.0}),
    "llama with yarn": base("llama", head_dim=16, rope_scaling=YARN),
    "qwen3 with yarn, untruncated": base("qwen3", head_dim=16, rope_scaling={
        **YARN, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.4}),
    "llama with yarn, its ramp": base("llama", head_dim=16, rope_scaling={**YARN, "beta_fast": 8.0, "beta_slow": 2.0}),
    "gpt_neox": base_neox(rotary_pct=0.25, rotary_emb_base=10000),
    "gpt_neox in sequence, its newer dialect": base_neox(
        use_parallel_residual=False, hidden_act="gelu_new", attention_bias=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}),
    "starcoder2": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=True, hidden_act="gelu_pytorch_tanh", sliding_window=5,
        rope_theta=999999.44, tie_word_embeddings=False).items() if k != "rms_norm_eps"},
    "starcoder2 without biases and windows, its newer dialect": {k: v for k, v in base(
        "starcoder2", norm_epsilon=1e-5, use_bias=False, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items() if k not in ("rms_norm_eps", "rope_theta")},
    "glm4": base("glm4", head_dim=12, attention_bias=True, partial_rotary_factor=0.5),
    "glm4 without biases, its newer dialect": {k: v for k, v in base(
        "glm4", head_dim=16, num_key_value_heads=1, attention_bias=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}).items()
        if k != "rope_theta"},
    "ernie4_5": base("ernie4_5", head_dim=16, rope_theta=500000.0, use_bias=False, tie_word_embeddings=True),
    "ernie4_5, its newer dialect": {k: v for k, v in base(
        "ernie4_5", head_dim=12, rope_parameters={"rope_type": "default", "rope_theta": 500.0}).items()
        if k != "rope_theta"},
    "cohere": {k: v for k, v in base("cohere", layer_norm_eps=1e-5, logit_scale=0.5, use_qk_norm=False, rope_theta=8e6,
                                     attention_bias=True, tie_word_embeddings=True).items() if k != "rms_norm_eps"},
    "cohere2": {k: v for k, v in base(
        "cohere2", num_hidden_layers=5, head_dim=12, layer_norm_eps=1e-5, logit_scale=2.0, sliding_window=5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True).items()
        if k not in ("rms_norm_eps", "rope_theta")},
}
PROMPT = [7, 0, 23, 60, 5, 5, 41, 12, 33]
NEW = 24


def lengths_of(config, prompt, total):
    """Rows of a cached sequence: dynamic scaling computes each by the length there was when it was read (transformers)."""
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


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:]) or ("",)
    all_of_them = [golden(n, c) for n, c in CONFIGS.items() if n.startswith(wanted)]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in all_of_them) + "\n]\n")
