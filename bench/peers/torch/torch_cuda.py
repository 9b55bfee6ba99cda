"""PyTorch on a CUDA device, for the cases of `heddle bench --device cuda`, under their names: one JSON object on stdout.

Times are CUDA events around several calls, the median of the rounds; products are cuBLAS's, attention is PyTorch's own choice (flash or
cuDNN). `python3 bench/peers/torch/torch_cuda.py [--rounds N] [--quick]`
"""
import argparse
import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("torch is not installed")
if not torch.cuda.is_available():
    sys.exit("torch sees no CUDA device")

arguments = argparse.ArgumentParser()
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--quick", action="store_true")
options = arguments.parse_args()
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
torch.backends.cuda.matmul.allow_tf32 = False
results = []


def measure(name, unit, work, run, repeat):
    run()
    torch.cuda.synchronize()
    values = []
    for _ in range(options.rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeat):
            run()
        end.record()
        torch.cuda.synchronize()
        values.append(work * repeat / (begin.elapsed_time(end) / 1000))
    results.append({"name": name, "unit": unit, "value": statistics.median(values)})
    print(f"{name}: {results[-1]['value']:.4g} {unit}", file=sys.stderr, flush=True)


def randn(*shape, dtype, grad=False):
    return torch.randn(shape, device="cuda").to(dtype).requires_grad_(grad)


def gemms():
    shapes = [(256, 256, 256)] if options.quick else [(4096, 4096, 4096), (8192, 8192, 8192), (8192, 5632, 2048), (16, 4096, 4096)]
    for dtype in ("f32", "bf16"):
        for index, (m, n, k) in enumerate(shapes):
            for layout in ("NT", "NN", "TN") if index == 0 else ("NT",):
                a = randn(k, m, dtype=DTYPES[dtype]).T if layout == "TN" else randn(m, k, dtype=DTYPES[dtype])
                b = randn(n, k, dtype=DTYPES[dtype]).T if layout == "NT" else randn(k, n, dtype=DTYPES[dtype])
                flops = 2 * m * n * k
                measure(f"gemm {dtype} {m}x{n}x{k} {layout}", "GFLOP/s", flops / 1e9, lambda: a @ b, max(1, round(1e12 / flops)))


def attentions():
    shapes = [(1, 2, 2, 64, 64)] if options.quick else [(8, 16, 16, 2048, 128), (1, 16, 16, 16384, 128), (8, 12, 4, 1024, 64)]
    for batch, heads, kv_heads, length, width in shapes:
        for backward in (False, True):
            q, k, v = (randn(batch, h, length, width, dtype=torch.bfloat16, grad=backward) for h in (heads, kv_heads, kv_heads))
            g = randn(batch, heads, length, width, dtype=torch.bfloat16)
            grouped = {"enable_gqa": True} if heads != kv_heads else {}

            def run():
                o = F.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
                if backward:
                    torch.autograd.grad(o, (q, k, v), g)

            flops = 2 * batch * heads * length * length * width * (3.5 if backward else 1)
            name = f"attention {'forward+backward' if backward else 'forward'} bf16 B{batch} H{heads}/{kv_heads} T{length} D{width}"
            measure(name, "GFLOP/s", flops / 1e9, run, 4)


def copies():
    size = 2**20 if options.quick else 2**30
    a, b = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    measure("copy within the device", "GB/s", 2 * size / 1e9, lambda: b.copy_(a), 4)


for part in (copies, gemms, attentions):
    try:
        with torch.set_grad_enabled(part is attentions):
            part()
    except torch.OutOfMemoryError as error:
        print(f"{part.__name__}: {error}", file=sys.stderr)
print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "results": results}))
