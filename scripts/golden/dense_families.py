"""Decoders for families.py that differ from Llama by more than a configuration key. Each follows its paper or its published definition."""
import math

import torch
import torch.nn.functional as F

from decoder import Model, Neighbours, attend, layer_norm, silu
from rotary import rotate, turning


class NeoX(Model):
    """GPT-NeoX (Black et al. 2022): attention and the MLP have separate norms, and may both read the same residual stream."""

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


class Phi(Model):
    """Phi 1, 1.5 and 2 (Gunasekar et al. 2023; Li et al. 2023): attention and MLP share one norm, and all layers have biases."""

    def norm(self, x, name):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def linear(self, x, name, outputs):
        return x @ self.w(name + ".weight", outputs, x.shape[-1]).T + self.w(name + ".bias", outputs)

    def attention(self, x, n, lengths):
        T, D = len(x), self.D
        q, k, v = (self.linear(x, f"{n}self_attn.{name}_proj", h * D).reshape(T, h, D)
                   for name, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        f, scale = turning({"partial_rotary_factor": 0.5, **self.c}, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.linear(o, n + "self_attn.dense", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            y = self.norm(x, n + "input_layernorm")
            inner = F.gelu(self.linear(y, n + "mlp.fc1", self.c["intermediate_size"]), approximate="tanh")
            x = x + self.attention(y, n, lengths) + self.linear(inner, n + "mlp.fc2", self.C)
        return self.norm(x, "model.final_layernorm")

    def logits(self, ids, lengths=None):
        return super().logits(ids, lengths) + self.w("lm_head.bias", self.c["vocab_size"])


class Ernie45(Neighbours):
    """ERNIE 4.5, the dense models."""

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        o = attend(self.turn(q, lengths), self.turn(k, lengths), v, 1 / math.sqrt(self.D))
        return self.linear(o, p + "o_proj", self.C)


class Cohere(Neighbours):
    """Command R and R7B: attention and MLP share one norm without a bias. In R7B, layers without a window have no RoPE."""

    def layer_type(self, i):
        return "sliding_attention" if self.kind == "cohere2" and (i + 1) % 4 else "full_attention"

    def attention(self, x, i, lengths):
        p, T = f"model.layers.{i}.self_attn.", len(x)
        q, k, v = (self.linear(x, p + n + "_proj", h * self.D).reshape(T, h, self.D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        if self.c.get("use_qk_norm"):  # Command R+: each head has separate norm weights
            eps = self.c["layer_norm_eps"]
            q = layer_norm(q, self.w(p + "q_norm.weight", self.H, self.D), None, eps)
            k = layer_norm(k, self.w(p + "k_norm.weight", self.KH, self.D), None, eps)
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
    """GLM 4: the version of 2024 has a norm before each block, and version 0414 also has one after each block."""

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
            x = x + (a if self.kind == "glm" else self.norm(a, n + "post_self_attn_layernorm"))
            y = self.norm(x, n + "post_attention_layernorm")
            gate, up = self.linear(y, n + "mlp.gate_up_proj", 2 * c["intermediate_size"]).chunk(2, -1)
            m = self.linear(silu(gate) * up, n + "mlp.down_proj", self.C)
            x = x + (m if self.kind == "glm" else self.norm(m, n + "post_mlp_layernorm"))
        return self.norm(x, "model.norm")


class Exaone4(Model):
    """EXAONE 4 (LG AI Research 2025): norms follow the attention and the MLP. If the model has a window, layers without one have no RoPE."""

    def layer_type(self, i):
        c = self.c
        if c.get("sliding_window") is None:
            return "full_attention"
        period = c.get("sliding_window_pattern", 4)
        period = len(period) if isinstance(period, str) else period
        return c["layer_types"][i] if "layer_types" in c else "sliding_attention" if (i + 1) % period else "full_attention"

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        q, k = self.norm(q, p + "q_norm", D), self.norm(k, p + "k_norm", D)
        window = self.c.get("sliding_window")
        slides = self.layer_type(i) == "sliding_attention"
        if slides or window is None:
            f, scale = turning(self.c, lengths[-1])
            positions = torch.arange(T, dtype=torch.float64)
            q, k = rotate(q, positions, f, scale), rotate(k, positions, f, scale)
        o = attend(q, k, v, 1 / math.sqrt(D), window if slides else None)
        return self.linear(o, p + "o_proj", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            x = x + self.norm(self.attention(x, i, lengths), n + "post_attention_layernorm")
            x = x + self.norm(self.mlp(x, i), n + "post_feedforward_layernorm")
        return self.norm(x, "model.norm")


class HunYuan(Model):
    """HunYuan V1, the dense models (Tencent 2025): each head of q and k is normalized after RoPE."""

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        f, scale = turning(self.c, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        q = self.norm(rotate(q, positions, f, scale), p + "query_layernorm", D)
        k = self.norm(rotate(k, positions, f, scale), p + "key_layernorm", D)
        return self.linear(attend(q, k, v, 1 / math.sqrt(D)), p + "o_proj", self.C)


class GraniteHybrid(Model):
    """Granite 4 without state-space layers and experts (IBM 2025): `input_linear` has the rows of gate, then those of up."""

    def mlp(self, x, i):
        p = f"model.layers.{i}.shared_mlp."
        gate, up = self.linear(x, p + "input_linear", 2 * self.c["shared_intermediate_size"]).chunk(2, -1)
        return self.linear(silu(gate) * up, p + "output_linear", self.C)


class SeedOss(Model):
    """Seed-OSS (ByteDance 2025): q, k and v have biases, the output has none."""

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        biased = self.c.get("attention_bias", True) and name.endswith(("q_proj", "k_proj", "v_proj"))
        return y + self.w(name + ".bias", outputs) if biased else y


class Olmo(Model):
    """OLMo 1 (Groeneveld et al. 2024): layer norms without weights. Queries, keys and values may be clamped."""

    def norm(self, x, name, width=None):
        return layer_norm(x, 1.0, None, 1e-5)

    def linear(self, x, name, outputs):
        y = super().linear(x, name, outputs)
        bound = self.c.get("clip_qkv")
        return y.clamp(-bound, bound) if bound and name.endswith(("q_proj", "k_proj", "v_proj")) else y


class StableLm(Model):
    """StableLM 3B and 2 (Bellagente et al. 2024): attention and MLP of a parallel layer share one norm. Each head of q and k may
    have a norm without a bias."""

    def norm(self, x, name, width=None):
        return layer_norm(x, self.w(name + ".weight", self.C), self.w(name + ".bias", self.C), self.c["layer_norm_eps"])

    def linear(self, x, name, outputs):
        y = x @ self.w(name + ".weight", outputs, x.shape[-1]).T
        biased = self.c.get("use_qkv_bias") and name.endswith(("q_proj", "k_proj", "v_proj"))
        return y + self.w(name + ".bias", outputs) if biased else y

    def heads(self, x, name):
        """Normalizes each head with a separate weight."""
        weights = [self.w(f"{name}.norms.{h}.weight", self.D) for h in range(x.shape[1])]
        return torch.stack([layer_norm(x[:, h], w, None, self.c["layer_norm_eps"]) for h, w in enumerate(weights)], 1)

    def attention(self, x, i, lengths):
        p, T, D = f"model.layers.{i}.self_attn.", len(x), self.D
        q, k, v = (self.linear(x, p + n + "_proj", h * D).reshape(T, h, D)
                   for n, h in (("q", self.H), ("k", self.KH), ("v", self.KH)))
        if self.c.get("qk_layernorm"):
            q, k = self.heads(q, p + "q_layernorm"), self.heads(k, p + "k_layernorm")
        f, scale = turning({"partial_rotary_factor": 0.25, **self.c}, lengths[-1])
        positions = torch.arange(T, dtype=torch.float64)
        o = attend(rotate(q, positions, f, scale), rotate(k, positions, f, scale), v, 1 / math.sqrt(D))
        return self.linear(o, p + "o_proj", self.C)

    def hidden(self, ids, lengths):
        x = self.w("model.embed_tokens.weight", self.c["vocab_size"], self.C)[ids]
        for i in range(self.L):
            n = f"model.layers.{i}."
            y = self.norm(x, n + "input_layernorm")
            attended = x + self.attention(y, i, lengths)
            if not self.c.get("use_parallel_residual"):
                y = self.norm(attended, n + "post_attention_layernorm")
            x = attended + self.mlp(y, i)
        return self.norm(x, "model.norm")


MODELS = {
    "gpt_neox": NeoX, "starcoder2": StarCoder2, "glm": Glm4, "glm4": Glm4, "cohere": Cohere, "cohere2": Cohere, "ernie4_5": Ernie45,
    "exaone4": Exaone4, "hunyuan_v1_dense": HunYuan, "phi": Phi, "seed_oss": SeedOss, "granitemoehybrid": GraniteHybrid,
    "olmo": Olmo, "stablelm": StableLm,
}
