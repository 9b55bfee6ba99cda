"""Writes a BERT with random weights as ONNX, for bench/peers/onnx/onnx_encoder.mjs: argv is the config as JSON, f32 or int8, and a file.

In f32 the operators are those that ONNX Runtime's own transformer optimizer makes of an exported BERT (one product for q, k and v,
fused norms and activations); in int8 every product is DynamicQuantizeLinear + MatMulInteger + a scale per output, as its
quantize_dynamic emits them and its optimizer fuses, over MultiHeadAttention. Inputs are ids and mask (batch, tokens), the output
hidden states. Needs Debian's python3-onnx.
"""
import json
import sys

import numpy as np
from onnx import TensorProto, helper

from onnx_graph import MICROSOFT, constant, int8_product, nodes, op, quantized, rng, save

config, kind, path = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
d, ff, layers, h = config["hiddenSize"], config["intermediateSize"], config["numHiddenLayers"], config["numAttentionHeads"]
vocab, positions = config["vocabSize"], config["maxPositionEmbeddings"]


def normal(name, *shape):
    return constant(name, (rng.standard_normal(shape) * 0.02).astype(np.float32))


def ones(name):
    return constant(name, np.ones(d, np.float32))


def zeros(name, n=d):
    return constant(name, np.zeros(n, np.float32))


def product(x, n, k, name):
    """x is a tensor in f32, or in int8 what quantized() made of one; without a bias."""
    if kind == "f32":
        return op("MatMul", [x, normal(f"{name}.weight", k, n)], f"{name}.product")
    return int8_product(x, n, k, name, f"{name}.product")


def entering(x, name):
    return x if kind == "f32" else quantized(x, name)


def attention(x, i):
    if kind == "f32":
        inputs = [x, normal(f"{i}.qkv.weight", d, 3 * d), zeros(f"{i}.qkv.bias", 3 * d), "mask"]
        return op("Attention", inputs, f"{i}.attention", domain=MICROSOFT, num_heads=h)
    a = quantized(x, f"{i}.in")
    q, k, v = (product(a, d, d, f"{i}.{name}") for name in "qkv")
    return op("MultiHeadAttention", [q, k, v, zeros(f"{i}.qkv.bias", 3 * d), "mask"], f"{i}.attention", domain=MICROSOFT, num_heads=h)


def norm(x, residual, name):
    inputs = [x, residual, ones(f"{name}.gamma"), zeros(f"{name}.beta"), zeros(f"{name}.bias")]
    return op("SkipLayerNormalization", inputs, name, domain=MICROSOFT, epsilon=1e-12)


tables = [normal("words", vocab, d), normal("places", positions, d), normal("kinds", 2, d), ones("gamma"), zeros("beta")]
nodes.append(
    helper.make_node("EmbedLayerNormalization", ["ids", "", *tables], ["embedded", "unused"], domain=MICROSOFT, epsilon=1e-12)
)
x = "embedded"
for i in range(layers):
    said = product(entering(attention(x, i), f"{i}.said"), d, d, f"{i}.o")
    between = norm(said, x, f"{i}.norm")
    inner = product(entering(between, f"{i}.between"), ff, d, f"{i}.up")
    active = op("BiasGelu", [inner, zeros(f"{i}.up.bias", ff)], f"{i}.gelu", domain=MICROSOFT)
    x = norm(product(entering(active, f"{i}.active"), d, ff, f"{i}.down"), between, f"{i}.norm2")
nodes.append(helper.make_node("Identity", [x], ["hidden"]))

inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "tokens"]) for name in ("ids", "mask")]
save(path, "bert", inputs, [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", "tokens", d])])
