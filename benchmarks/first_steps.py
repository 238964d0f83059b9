"""From the start of a script to its 20th step: import, setup, compiling and all, each in a process of its own.

    python benchmarks/first_steps.py [--torch PYTHON] [--rounds N]

Prints the best of several runs of a small classifier (784-512-512-10, batch 128, Adam), interpreted, compiled with an empty
cache, and compiled with the cache of the run before; and that of PyTorch, where a Python that has it is named.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

PROGRAM = """
import time
start = time.perf_counter()
import {torch} as torch
imported = time.perf_counter() - start
nn = torch.nn
torch.manual_seed(0)
data = [(torch.rand(128, 1, 28, 28), torch.randint(10, (128,))) for _ in range(8)]
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3)
for k in range(20):
    x, y = data[k % 8]
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    loss.item()
    if k == 0:
        first = time.perf_counter() - start
print(imported, first, time.perf_counter() - start)
"""


def run(python: str, torch: str, **environment: str) -> tuple[float, ...]:
    """Seconds from the start to the end of the import, of the first step and of the 20th."""
    command = [python, "-c", PROGRAM.format(torch=torch)]
    out = subprocess.run(
        command, env=os.environ | {"FLAMBEAU_STRICT": "1"} | environment, capture_output=True, text=True, check=True
    ).stdout
    return tuple(map(float, out.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as directory:
            compiled = {"FLAMBEAU_COMPILE": "1", "FLAMBEAU_CACHE_DIR": directory}
            found.setdefault("interpreted", []).append(run(sys.executable, "flambeau", FLAMBEAU_COMPILE="0"))
            found.setdefault("compiled, cache empty", []).append(run(sys.executable, "flambeau", **compiled))
            found.setdefault("compiled, cache full", []).append(run(sys.executable, "flambeau", **compiled))
        if args.torch:
            found.setdefault("PyTorch", []).append(run(args.torch, "torch"))
    print(f"{'seconds until':24} {'import':>8} {'step 1':>8} {'step 20':>8}")
    for name, runs in found.items():
        print(f"{name:24} " + " ".join(f"{t:8.3f}" for t in min(runs, key=lambda r: r[-1])))


if __name__ == "__main__":
    main()
