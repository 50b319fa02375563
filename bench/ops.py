"""Seconds a call of some operators in PyTorch: what ops.ts prints beside its own. Prints one JSON object."""
import json
import time

import torch

torch.set_num_threads(1)
a, b = torch.ones(1), torch.ones(1)
m, n = torch.ones(8, 8), torch.ones(8, 8)
leaf = torch.ones(1, requires_grad=True)
CALLS = {
    "add, 1 element": lambda: a + b,
    "mul by a number": lambda: a * 2.0,
    "sum over a dimension": lambda: torch.sum(m, dim=[1], keepdim=True),
    "matmul, 8 × 8": lambda: torch.matmul(m, n),
    "view": lambda: m.view(64),
    "add, recorded for backward": lambda: leaf + b,
}


def cost(call):
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(20_000):
            call()
        best = min(best, (time.perf_counter() - start) / 20_000)
    return best


print(json.dumps({name: cost(call) for name, call in CALLS.items()}))
