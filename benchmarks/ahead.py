"""What running ahead gains: training steps that ask for their loss, with and without kernels that run while Python goes on.

    python benchmarks/ahead.py

Both ways take turns in one process. Prints microseconds a step and the ratio, medians of blocks of steps.
"""

from __future__ import annotations

import math
import statistics
import time

import flambeau as torch
from flambeau import nn
from flambeau.core import config

config.strict = True  # what cannot be compiled is an error: its times would be those of NumPy

BLOCKS, STEPS = 30, 40
AHEAD = config.ahead


def network(width: int, depth: int, optimizer):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    x, y = torch.randn(64, width), torch.randint(10, (64,))
    optimizer = optimizer(model.parameters(), lr=1e-4)
    criterion = nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def block(step, ahead: float) -> float:
    config.ahead = ahead
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    for width, depth, optimizer in ((128, 1, torch.optim.SGD), (256, 2, torch.optim.Adam), (512, 4, torch.optim.Adam)):
        step = network(width, depth, optimizer)
        block(step, AHEAD)
        times = [(block(step, math.inf), block(step, AHEAD)) for _ in range(BLOCKS)]
        before, after = (1e6 * statistics.median(t) for t in zip(*times, strict=True))
        name = f"{depth + 1} layers of {width}, {optimizer.__name__}"
        print(f"{name:28s} at once {before:8.0f} us, ahead {after:8.0f} us, ratio {after / before:.2f}")


if __name__ == "__main__":
    main()
