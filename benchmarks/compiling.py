"""What making plans costs: the passes of one training step's plan, with an empty cache on disk and with a full one.

python benchmarks/compiling.py [--model mlp|conv|attention]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

import flambeau as torch
from flambeau import nn
from flambeau.core import config

config.strict = True  # what cannot be compiled is an error: its times would be those of NumPy

MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)), (32, 64)),
    "conv": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(8)),
        (16, 3, 16, 16),
    ),
    "attention": (lambda: nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), (8, 16, 32)),
}


def train(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make(), torch.randn(shape)
    model(x)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        loss.item()


def show(name: str) -> None:
    """Trains, and prints the passes of the largest plan."""
    from flambeau.engine import plans
    from flambeau.engine.report import PlanReport

    config.compiled = True
    train(name)
    largest = max(map(PlanReport, plans.plans.values()), key=lambda r: r.nodes)
    stats = torch.engine_stats()
    passes = ", ".join(f"{k} {ms:.1f}" for k, ms in largest.passes.items())
    print(
        f"{name}: {stats['compiled']} plans in {stats['compile_ms']:.0f} ms; {stats['kernels_compiled']} kernels compiled, "
        f"{stats['kernels_loaded']} loaded\n    the largest has {largest.nodes} nodes and {largest.kernels} kernels, ms: {passes}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, help="one of them; all if not given")
    parser.add_argument("--here", action="store_true", help="in this process, with the cache that there is")
    args = parser.parse_args()
    if args.here:
        show(args.model)
        return
    for name in [args.model] if args.model else MODELS:
        with tempfile.TemporaryDirectory() as directory:
            for state in ("empty", "full"):
                print(f"cache {state}: ", end="", flush=True)
                command = [sys.executable, __file__, "--here", "--model", name]
                subprocess.run(command, env=os.environ | {"FLAMBEAU_CACHE_DIR": directory}, check=True)


if __name__ == "__main__":
    main()
