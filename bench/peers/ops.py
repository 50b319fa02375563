"""Seconds a call of some operators in PyTorch: what ops.ts prints beside its own. Prints one JSON object.

Usage: ops.py ROUNDS CALLS"""
import json
import sys
import time

import torch

torch.set_num_threads(1)
ROUNDS, CALLS_A_ROUND = int(sys.argv[1]), int(sys.argv[2])
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
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS_A_ROUND):
            call()
        best = min(best, (time.perf_counter() - start) / CALLS_A_ROUND)
    return best


print(json.dumps({name: cost(call) for name, call in CALLS.items()}))
