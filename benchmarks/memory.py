"""Memory of a training loop: the peak, and what 10,000 steps add to it (Linux).

python benchmarks/memory.py [--torch PYTHON]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

PROGRAM = """
import os, resource
import {torch} as torch
nn = torch.nn
page = resource.getpagesize()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * page / 2**20
imported = resident()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, 10))
criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())
x, y = torch.randn(64, {width}), torch.randint(10, (64,))
def step():
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()
for _ in range(100):
    step()
before = resident()
for _ in range({steps}):
    step()
print(imported, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, resident() - before)
"""


def run(python: str, torch: str, width: int, steps: int, **environment: str) -> list[float]:
    command = [python, "-c", PROGRAM.format(torch=torch, width=width, steps=steps)]
    out = subprocess.run(
        command, env=os.environ | {"FLAMBEAU_STRICT": "1"} | environment, capture_output=True, text=True, check=True
    ).stdout
    return [float(word) for word in out.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch")
    args = parser.parse_args()
    sides = [("interpreted", sys.executable, "flambeau", "0"), ("compiled", sys.executable, "flambeau", "1")]
    if args.torch:
        sides.append(("PyTorch", args.torch, "torch", ""))
    print(f"{'MiB':12} {'model':>6} {'import':>8} {'peak':>8} {'growth':>8}")
    for width, steps in ((16, 10_000), (512, 300)):
        for name, python, torch, compiled in sides:
            figures = run(python, torch, width, steps, FLAMBEAU_COMPILE=compiled)
            print(f"{name:12} {width:6} " + " ".join(f"{f:8.1f}" for f in figures), flush=True)


if __name__ == "__main__":
    main()
