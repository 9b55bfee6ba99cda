"""PyTorch's side of bench/suites/ops/ops.ts."""
import torch
import torch.nn.functional as F

from torch_peer import peak_over, serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def gemm(r):
    dtype, m, n, k = DTYPES[r["dtype"]], r["m"], r["n"], r["k"]
    a = torch.randn((k, m) if r["form"][0] == "T" else (m, k)).to(dtype)
    b = torch.randn((n, k) if r["form"][1] == "T" else (k, n)).to(dtype)
    a, b = (a.T if r["form"][0] == "T" else a), (b.T if r["form"][1] == "T" else b)
    return lambda: a @ b


def attention(r):
    dtype = DTYPES[r["dtype"]]
    make = lambda heads: torch.randn((r["batch"], heads, r["tokens"], r["width"]), dtype=dtype, requires_grad=r["backward"])
    q, k, v = make(r["heads"]), make(r["keyHeads"]), make(r["keyHeads"])
    g = torch.randn(q.shape, dtype=dtype)
    gqa = {"enable_gqa": True} if r["heads"] != r["keyHeads"] else {}

    def run():
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, **gqa)
        if r["backward"]:
            q.grad = k.grad = v.grad = None
            o.backward(g)

    return run


def logprob(r):
    dtype = DTYPES[r["dtype"]]
    h = torch.randn(r["rows"], r["width"]).to(dtype).requires_grad_()
    w = (torch.randn(r["vocab"], r["width"]) / r["width"] ** 0.5).to(dtype).requires_grad_()
    targets = torch.randint(r["vocab"], (r["rows"],))

    def run():
        h.grad = w.grad = None
        F.cross_entropy(F.linear(h, w), targets).backward()

    gradients = (h.numel() + w.numel()) * h.element_size()
    facts = {"extraBytes": peak_over(run) - gradients}
    return run, lambda: facts


KINDS = {"gemm": gemm, "attention": attention, "logprob": logprob}
serve(lambda case: KINDS[case["kind"]](case))
