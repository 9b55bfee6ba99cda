"""PyTorch on a CUDA device, for the cases of `heddle bench --device cuda`, under their names: JSON objects on stdout, one per
line. Each line has all results so far, so a run that is cut short keeps those of the parts before.

Times are CUDA events around several calls, the median of the rounds. Products are cuBLAS's. Attention is FlashAttention-3 if its package
(flash_attn_interface) is installed and faster than PyTorch's own choice; `kernel` names the one that counts. The training step is compiled by
torch.compile. `python3 bench/peers/torch/torch_cuda.py [--rounds N] [--quick]`
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
try:
    from flash_attn_interface import flash_attn_func
except ImportError:
    flash_attn_func = None


def measure(name, unit, work, run, repeat, kernel=None):
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
    value = statistics.median(values)
    print(f"{name}{f' ({kernel})' if kernel else ''}: {value:.4g} {unit}", file=sys.stderr, flush=True)
    # The fastest of several kernels for a case counts.
    if results and results[-1]["name"] == name:
        if results[-1]["value"] >= value:
            return
        results.pop()
    results.append({"name": name, "unit": unit, "value": value, **({"kernel": kernel} if kernel else {})})


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

            # FlashAttention-3 has operands of (batch, length, heads, width).
            lengthwise = [t.detach().transpose(1, 2).contiguous().requires_grad_(backward) for t in (q, k, v)]
            lengthwise_g = g.transpose(1, 2).contiguous()

            def run_flash():
                o = flash_attn_func(*lengthwise, causal=True)
                o = o[0] if isinstance(o, tuple) else o
                if backward:
                    torch.autograd.grad(o, lengthwise, lengthwise_g)

            flops = 2 * batch * heads * length * length * width * (3.5 if backward else 1)
            name = f"attention {'forward+backward' if backward else 'forward'} bf16 B{batch} H{heads}/{kv_heads} T{length} D{width}"
            measure(name, "GFLOP/s", flops / 1e9, run, 4, "scaled_dot_product_attention")
            if flash_attn_func:
                measure(name, "GFLOP/s", flops / 1e9, run_flash, 4, "FlashAttention-3")


def gemvs():
    size, count = (256, 1) if options.quick else (4096, 16)
    weights = [randn(size, size, dtype=torch.bfloat16) for _ in range(count)]

    def run():
        x = weights[0][:1]
        for w in weights:
            x = F.linear(x, w)

    measure(f"gemv bf16 {size}x{size}", "GB/s", 2 * size * size * count / 1e9, run, 16)


def vocabularies():
    rows, width, vocabulary = (16, 64, 512) if options.quick else (8192, 2048, 128256)
    targets = torch.arange(rows, device="cuda") * 7919 % vocabulary
    for backward in (False, True):
        hidden, head = (randn(n, width, dtype=torch.bfloat16, grad=backward) for n in (rows, vocabulary))

        def run():
            loss = F.cross_entropy(F.linear(hidden, head).float(), targets, reduction="sum")
            if backward:
                torch.autograd.grad(loss, (hidden, head))

        name = f"log-probabilities {'forward+backward' if backward else 'forward'} bf16 {rows}x{width} V{vocabulary}"
        measure(name, "GFLOP/s", (6 if backward else 2) * rows * width * vocabulary / 1e9, torch.compile(run), 2)


def samples():
    rows, vocabulary = 8, 512 if options.quick else 128256
    logits = randn(rows, vocabulary, dtype=torch.float32)

    def run():
        p, ids = torch.softmax(logits / 0.7, -1).sort(-1, descending=True)
        p = p.masked_fill(p.cumsum(-1) - p > 0.9, 0)
        return ids.gather(-1, torch.multinomial(p, 1))

    measure(f"sample top-p {rows}x{vocabulary}", "tokens/s", rows, torch.compile(run), 16)


def training():
    """A step of GPT-2 124M: bf16 autocast, clipping, fused AdamW, as in lib/bench/suites/train.ts."""
    from torch_models import Gpt2

    c = {"hiddenSize": 768, "numHiddenLayers": 12, "numAttentionHeads": 12, "vocabSize": 50304, "tokens": 1024}
    name, sequences = "GPT-2 124M", 16
    if options.quick:
        c.update(hiddenSize=64, numHiddenLayers=1, numAttentionHeads=2, vocabSize=512, tokens=32)
        name, sequences = "GPT-2 tiny", 2
    model = Gpt2(c).cuda()
    model.embed.weight.data.mul_(0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.arange(sequences * c["tokens"] + 1, device="cuda") * 7919 % c["vocabSize"]
    tokens, targets = ids[:-1].view(sequences, -1), ids[1:]

    @torch.compile
    def loss():
        with torch.autocast("cuda", torch.bfloat16):
            return F.cross_entropy(model(tokens).view(-1, c["vocabSize"]), targets)

    def run():
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    measure(f"train step {name} bf16", "tokens/s", sequences * c["tokens"], run, 4)


def copies():
    size = 2**20 if options.quick else 2**30
    a, b = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    measure("copy within the device", "GB/s", 2 * size / 1e9, lambda: b.copy_(a), 4)


about = {"torch": torch.__version__, "device": torch.cuda.get_device_name()}
for part in (copies, gemms, gemvs, attentions, vocabularies, samples, training):
    try:
        with torch.set_grad_enabled(part in (attentions, vocabularies, training)):
            part()
    except Exception as error:  # out of memory, or no compiler for torch.compile: the other parts still count
        print(f"{part.__name__}: {error}", file=sys.stderr)
    print(json.dumps({**about, "results": results}), flush=True)
