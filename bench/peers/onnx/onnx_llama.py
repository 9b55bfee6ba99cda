"""Writes a Llama with random int8 weights as ONNX, for bench/peers/onnx/onnxruntime.mjs: argv is the config as JSON and a file.

Every product is DynamicQuantizeLinear + MatMulInteger + a scale per output, which is what ONNX Runtime's own
quantize_dynamic emits and its optimizer fuses; attention (rotary, GQA, causal) is its GroupQueryAttention. Needs Debian's
python3-onnx.
"""
import json
import sys

import numpy as np
from onnx import TensorProto, helper

from onnx_graph import MICROSOFT, constant, int8_product, nodes, op, quantized, rng, save

config, path = json.loads(sys.argv[1]), sys.argv[2]
d, ff, layers = config["hiddenSize"], config["intermediateSize"], config["numHiddenLayers"]
h, kv, vocab, tokens = config["numAttentionHeads"], config["numKeyValueHeads"], config["vocabSize"], config["tokens"]
width = d // h


def linear(x, n, k, name):
    return int8_product(x, n, k, name, name)


def norm(x, name):
    return op("SimplifiedLayerNormalization", [x, constant(f"{name}.weight", np.ones(d, np.float32))], name, axis=-1, epsilon=1e-5)


angle = np.outer(np.arange(tokens), 10000.0 ** (-np.arange(0, width, 2) / width)).astype(np.float32)
cos, sin = constant("cos", np.cos(angle)), constant("sin", np.sin(angle))
last = constant("sequence", np.array([tokens - 1], np.int32))
total = constant("total", np.array(tokens, np.int32))
past = constant("past", np.zeros((1, kv, 0, width), np.float32))
table = constant("embed", rng.standard_normal((vocab, d)).astype(np.float32))
x = op("Gather", [table, "ids"], "embedded")
for i in range(layers):
    a = quantized(norm(x, f"{i}.norm"), f"{i}.norm")
    q, k, v = linear(a, d, d, f"{i}.q"), linear(a, kv * width, d, f"{i}.k"), linear(a, kv * width, d, f"{i}.v")
    o = op("GroupQueryAttention", [q, k, v, past, past, last, total, cos, sin], f"{i}.attention", 3, MICROSOFT, num_heads=h, kv_num_heads=kv, do_rotary=1)[0]
    x = op("Add", [x, linear(quantized(o, f"{i}.attention"), d, d, f"{i}.o")], f"{i}.middle")
    a = quantized(norm(x, f"{i}.norm2"), f"{i}.norm2")
    gate, up = linear(a, ff, d, f"{i}.gate"), linear(a, ff, d, f"{i}.up")
    silu = op("Mul", [gate, op("Sigmoid", [gate], f"{i}.sigmoid")], f"{i}.silu")
    inner = op("Mul", [silu, up], f"{i}.inner")
    x = op("Add", [x, linear(quantized(inner, f"{i}.inner"), d, ff, f"{i}.down")], f"{i}.out")
end = op("Gather", [norm(x, "norm"), constant("end", np.array([tokens - 1], np.int64))], "end_state", axis=1)
nodes.append(helper.make_node("Identity", [linear(quantized(end, "end_state"), vocab, d, "head")], ["logits"]))

inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, tokens])]
save(path, "llama", inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, vocab])])
