"""Compiled loops: how many GB/s they read and write, against NumPy's way to the same values.

python benchmarks/kernels.py [--threads N] [--only TEXT] [--size N]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import flambeau as torch
from flambeau.core import config
from flambeau.nn import functional as F

config.strict = True  # what cannot be compiled is an error: its times would be those of NumPy

LOOPS = [
    # name, the expression, how many arrays it reads and writes
    ("add", lambda x, y: x + y, 3),
    ("chain of five", lambda x, y: ((x * y + x).relu() - y) * 0.5, 3),
    ("exp", lambda x, y: x.exp(), 2),
    ("tanh", lambda x, y: x.tanh(), 2),
    ("sigmoid", lambda x, y: x.sigmoid(), 2),
    ("gelu", lambda x, y: F.gelu(x), 2),
    ("sum", lambda x, y: x.sum(), 1),
    ("sum of rows", lambda x, y: x.sum(-1), 1),
    ("sum of columns", lambda x, y: x.sum(0), 1),
    ("softmax", lambda x, y: x.softmax(-1), 2),
    ("layer_norm", lambda x, y: F.layer_norm(x, x.shape[-1:]), 2),
    ("transposed sum", lambda x, y: x.t() + y, 3),
    ("bfloat16 add", lambda x, y: x.bfloat16() + y.bfloat16(), 3),
]


def best(function, operands: tuple, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = function(*operands)
        result._storage.array()  # a value is asked for: the trace runs
        times.append(time.perf_counter() - start)
        del result
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="those whose name has this text in it")
    parser.add_argument("--size", type=int, default=512, help="of the square arrays")
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.standard_normal((args.size, args.size)).astype(np.float32)).clone() for _ in range(2))
    print(f"{args.size} x {args.size} float32, {args.threads} thread{'s' * (args.threads > 1)}")
    for name, function, arrays in LOOPS:
        if args.only not in name:
            continue
        seconds = {}
        for tier, compiled in (("compiled", True), ("NumPy", False)):
            config.compiled = compiled
            best(function, (x, y), 3)
            seconds[tier] = best(function, (x, y), args.rounds)
        rate = arrays * args.size**2 * 4e-9 / seconds["compiled"]
        print(f"{name:16} {seconds['compiled'] * 1e6:9.1f} us {rate:7.1f} GB/s    NumPy {seconds['NumPy'] * 1e6:9.1f} us")


if __name__ == "__main__":
    main()
