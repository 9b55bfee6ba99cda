"""PyTorch's side of bench/ops.ts: reads one JSON request a line, answers with its seconds.

Started by bench/peers/torch.ts with the environment that torch needs to run well on two threads.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
made = {}


def gemm(r):
    dtype = DTYPES[r["dtype"]]
    a = torch.randn(r["m"], r["k"]).to(dtype)
    b = torch.randn(r["n"], r["k"]).to(dtype)
    return lambda: a @ b.T


def attention(r):
    dtype = DTYPES[r["dtype"]]
    shape = (r["batch"], r["heads"], r["tokens"], r["width"])
    q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=r["backward"]) for _ in range(3))
    g = torch.randn(shape, dtype=dtype)

    def run():
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if r["backward"]:
            q.grad = k.grad = v.grad = None
            o.backward(g)

    return run


KINDS = {"gemm": gemm, "attention": attention}
if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    key = json.dumps(request["case"], sort_keys=True)
    if key not in made:
        made.clear()
        made[key] = KINDS[request["case"]["kind"]](request["case"])
    start = time.perf_counter()
    for _ in range(request["repeat"]):
        made[key]()
    print(json.dumps({"seconds": (time.perf_counter() - start) / request["repeat"]}), flush=True)
