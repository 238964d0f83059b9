"""What recording costs: a chain of 1,000 small elementwise ops, recorded and not run. Prints microseconds an op.

python benchmarks/recording.py
"""

from __future__ import annotations

import statistics
import time

import flambeau as torch
from flambeau.core import config
from flambeau.engine.run import run_pending

config.strict = True  # what cannot be compiled is an error: its times would be those of NumPy

LENGTH, ROUNDS = 1000, 30


def chain(x, y):
    for _ in range(LENGTH // 4):
        x = x + y
        x = x * 0.5
        x = x - y
        x = x.relu()
    return x


def microseconds(requires_grad: bool) -> float:
    x = torch.ones(4, 4, requires_grad=requires_grad)
    y = torch.ones(4, 4)
    times = []
    for _ in range(ROUNDS):
        run_pending()
        start = time.perf_counter()
        result = chain(x, y)
        times.append(time.perf_counter() - start)
        del result
    return statistics.median(times) / LENGTH * 1e6


def main() -> None:
    torch.ones(1).item()
    for requires_grad in (False, True):
        print(f"recording, {'with' if requires_grad else 'without'} autograd: {microseconds(requires_grad):.2f} us an op")


if __name__ == "__main__":
    main()
