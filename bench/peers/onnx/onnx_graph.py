"""What the writers of ONNX files for onnxruntime-node share: nodes and weights as they come, and the file that they make."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
rng = np.random.default_rng(1)
nodes, weights = [], []


def constant(name, array):
    weights.append(numpy_helper.from_array(array, name))
    return name


def op(operator, inputs, name, outputs=1, domain="", **attributes):
    names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
    nodes.append(helper.make_node(operator, inputs, names, name=name, domain=domain, **attributes))
    return names[0] if outputs == 1 else names


def quantized(x, name):
    """Activations as u8 with their scale and zero point, shared by the products that read them."""
    return op("DynamicQuantizeLinear", [x], f"{name}.quantized", 3)


def int8_product(x, n, k, name, result):
    """`x` is what quantized() gives, the weight (k, n) random int8 with a scale per output."""
    values, scale, zero = x
    w = constant(f"{name}.weight", rng.integers(-127, 128, (k, n), dtype=np.int8))
    product = op("MatMulInteger", [values, w, zero, constant(f"{name}.zero", np.int8(0))], f"{name}.integers")
    wide = op("Cast", [product], f"{name}.wide", to=TensorProto.FLOAT)
    per_output = constant(f"{name}.scale", np.full(n, 1 / (73 * k**0.5), np.float32))
    return op("Mul", [wide, op("Mul", [scale, per_output], f"{name}.both")], result)


def save(path, name, inputs, outputs):
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
