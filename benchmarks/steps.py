"""What a training step costs besides its arithmetic: steps of tiny models, of which the arithmetic takes next to nothing.

    python benchmarks/steps.py

Prints microseconds a step, and an operation, for the compiled tier and for the interpreter.
"""

from __future__ import annotations

import time

import flambeau as torch
from flambeau import nn
from flambeau.core import config
from flambeau.engine import graph

config.strict = True  # what cannot be compiled is an error: its times would be those of NumPy


def by_hand():
    """Gradients by hand, as in a first course."""
    x, y = torch.randn(4, 8), torch.randn(4, 2)
    w1, w2 = torch.randn(8, 4), torch.randn(4, 2)

    def step() -> torch.Tensor:
        hidden = x.mm(w1).clamp(min=0)
        predicted = hidden.mm(w2)
        loss = (predicted - y).pow(2).sum()
        slope = 2.0 * (predicted - y)
        back = slope.mm(w2.t())
        back[hidden == 0] = 0
        w2.sub_(1e-6 * hidden.t().mm(slope))
        w1.sub_(1e-6 * x.t().mm(back))
        return loss

    return step


def by_autograd():
    x, y = torch.randn(4, 8), torch.randn(4, 2)
    w1, w2 = torch.randn(8, 4, requires_grad=True), torch.randn(4, 2, requires_grad=True)

    def step() -> torch.Tensor:
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for w in (w1, w2):
                w -= 1e-6 * w.grad
                w.grad = None
        return loss

    return step


def by_module():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    criterion, optimizer = nn.MSELoss(), torch.optim.Adam(model.parameters())
    x, y = torch.randn(4, 8), torch.randn(4, 2)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def measure(make, compiled: bool, rounds: int = 300) -> tuple[float, int]:
    """Microseconds of the best step, and how many operations it records."""
    config.compiled = compiled
    torch.manual_seed(0)
    step = make()
    for _ in range(10):
        step().item()
    loss = step()
    count = len(graph.trace)
    loss.item()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step().item()
        times.append(time.perf_counter() - start)
    return min(times) * 1e6, count


def main() -> None:
    for make in (by_hand, by_autograd, by_module):
        for compiled in (True, False):
            us, count = measure(make, compiled)
            how = "compiled" if compiled else "interpreted"
            print(f"{make.__name__:12} {how:12} {us:8.1f} us a step, {us / count:5.2f} us for each of {count} operations")


if __name__ == "__main__":
    main()
