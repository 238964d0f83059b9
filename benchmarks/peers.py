"""What is fast and what is slow, beside PyTorch: the table of docs/performance.md.

    python benchmarks/peers.py --torch PYTHON [--rounds N] [--only NAME ...]

Both take turns, in processes of their own, with one thread each. Times are of the process's CPU, which others on the machine
disturb less than clocks on the wall; each is the best block of steps of all rounds. ``--markdown`` prints rows for the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]
SECONDS = 0.4  # that a case runs, besides its first steps


def small_net(torch: Any) -> Step:
    """Training: 64-64-10 with Adam, 32 samples"""
    nn = torch.nn
    return _training(torch, nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), torch.randn(32, 64))


def wider_net(torch: Any) -> Step:
    """Training: 784-512-512-10 with Adam, 128 samples"""
    nn = torch.nn
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return _training(torch, net, torch.randn(128, 784))


def convolutions(torch: Any) -> Step:
    """Training: two convolutions with batch norm, 32 pictures of 16 by 16"""
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 64, 10),
    )  # fmt: skip
    return _training(torch, net, torch.randn(32, 3, 16, 16))


def transformer(torch: Any) -> Step:
    """Training: a transformer's layer, 8 sequences of 32 steps, 64 features"""
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    return _training(torch, nn.Sequential(layer, nn.Flatten(), nn.Linear(32 * 64, 10)), torch.randn(8, 32, 64))


def recurrent(torch: Any) -> Step:
    """Training: an LSTM, 16 sequences of 50 steps, 64 units"""
    nn = torch.nn

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return _training(torch, Last(), torch.randn(16, 50, 16))


def formula(torch: Any) -> Step:
    """A formula of ten operations over a million numbers"""
    a, b = torch.randn(1_000_000), torch.rand(1_000_000)

    def step() -> float:
        return ((a * b + 1).tanh() * (a - b).abs().sqrt() / (b + 2)).pow(2).sum().item()

    return step


def product(torch: Any) -> Step:
    """A product of matrices of 768 by 768"""
    a, b = torch.randn(768, 768), torch.randn(768, 768)
    return lambda: (a @ b)[0, 0].item()


def one_answer(torch: Any) -> Step:
    """An answer of a small net for one sample"""
    nn = torch.nn
    net, x = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval(), torch.randn(1, 64)

    def step() -> float:
        with torch.no_grad():
            return net(x).argmax().item()

    return step


def new_sizes(torch: Any) -> Step:
    """Training the small net with another number of samples in each step"""
    nn = torch.nn
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer, data = torch.optim.Adam(net.parameters()), torch.randn(2048, 64)
    sizes = iter(torch.randperm(2000).tolist() * 100)

    def step() -> float:
        optimizer.zero_grad()
        loss = net(data[: 8 + next(sizes)]).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def values_one_by_one(torch: Any) -> Step:
    """A loop that reads each of 100 numbers with item() and decides by it"""
    x = torch.randn(100)

    def step() -> int:
        return sum(1 for value in x if value.item() > 0)

    return step


def single_calls(torch: Any) -> Step:
    """One addition of 10 numbers, looked at"""
    x = torch.randn(10)
    return lambda: (x + 1)[0].item()


def sums_along(torch: Any) -> Step:
    """cummax over a million numbers"""
    x = torch.randn(1000, 1000)
    return lambda: x.cummax(1)[0][0, 0].item()


def distances(torch: Any) -> Step:
    """pdist of 500 points"""
    x = torch.randn(500, 8)
    return lambda: torch.pdist(x)[0].item()


def _training(torch: Any, net: Any, x: Any) -> Step:
    target = torch.randint(10, (len(x),))
    optimizer = torch.optim.Adam(net.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


CASES = {
    f.__name__: f
    for f in (
        small_net, wider_net, convolutions, transformer, recurrent, formula, product, one_answer, new_sizes, values_one_by_one, single_calls,
        sums_along, distances,
    )
}  # fmt: skip


def microseconds(step: Step) -> float:
    """The best block of steps, by the CPU's time."""
    for _ in range(5):
        step()
    start, best = time.process_time(), float("inf")
    while time.process_time() - start < SECONDS:
        begin, steps = time.process_time(), 0
        while time.process_time() - begin < SECONDS / 20:
            step()
            steps += 1
        best = min(best, (time.process_time() - begin) / steps)
    return 1e6 * best


def worker(package: str, names: list[str]) -> None:
    """In a process of its own: prints the times as JSON."""
    import importlib

    torch = importlib.import_module(package)
    torch.set_num_threads(1)
    times = {}
    for name in names:
        torch.manual_seed(0)
        times[name] = microseconds(CASES[name](torch))
    print(json.dumps(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch; without it only flambeau is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.only)
        return
    pythons = {"flambeau": sys.executable} | ({"torch": options.torch} if options.torch else {})
    best: dict[str, dict[str, float]] = {package: {} for package in pythons}
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(options.rounds):
        for package, python in pythons.items():
            command = [python, __file__, "--worker", package, "--only", *options.only]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
            for name, time_ in json.loads(done.stdout).items():
                best[package][name] = min(time_, best[package].get(name, float("inf")))
    for name in options.only:
        ours, theirs = best["flambeau"][name], best.get("torch", {}).get(name)
        figures = [f"{ours:,.0f}"] + ([f"{theirs:,.0f}", f"{theirs / ours:.2f}"] if theirs else [])
        if options.markdown:
            print(f"| {CASES[name].__doc__} | {' | '.join(figures)} |")
        else:
            print(f"{CASES[name].__doc__:72}" + "".join(f"{figure:>10}" for figure in figures))


if __name__ == "__main__":
    main()
