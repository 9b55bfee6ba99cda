"""What PyTorch's sides of the benches share: one JSON request a line, answered with its seconds.

Started by bench/peers/torch/torch.ts with the environment that torch needs to run well on two threads.
"""
import ctypes
import json
import sys
import time

import torch


def blas():
    """The library behind f32 products, from what is mapped into this process."""
    torch.randn(8, 8) @ torch.randn(8, 8)
    with open("/proc/self/maps") as maps:
        names = {line.split()[-1].split("/")[-1] for line in maps if "/" in line}
    for part in ("openblas", "mkl_core", "mkl_rt", "blis"):
        for name in sorted(names):
            if part in name:
                return name
    return "reference" if any(n.startswith("libblas") for n in names) else "built in"


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_over(run):
    """Bytes of the largest resident set while `run` runs, beyond what was resident before."""
    ctypes.CDLL(None).malloc_trim(0)  # memory that an earlier case freed would hide what this one takes
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    before = status("VmRSS")
    run()
    return status("VmHWM") - before


def serve(make):
    """make(case) gives a function to time, or (function, facts to add to every answer)."""
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "blas": blas()}), flush=True)
    key, run, facts = None, None, None
    for line in sys.stdin:
        request = json.loads(line)
        if key != request["case"]:
            key, run = request["case"], None  # freed before the next is made
            made = make(request["case"])
            run, facts = made if isinstance(made, tuple) else (made, dict)
        run()  # the threads and caches are this process's again
        start = time.perf_counter()
        for _ in range(request["repeat"]):
            run()
        seconds = (time.perf_counter() - start) / request["repeat"]
        print(json.dumps({"seconds": seconds, **facts()}), flush=True)
