"""How processes end: whatever runs, waits or flies then, nothing is touched that is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("llvmlite")

LOOP = """
import sys
import flambeau as torch
from flambeau.core import config
from flambeau.utils import data

config.ahead = 0.0
torch.set_num_threads(2)
"""
FILLING = """
a, b, c = torch.zeros(24, 24), torch.randn(24, 24), torch.randn(24, 24)
for i in range(24):
    for j in range(24):
        a[i, j] = torch.dot(b[i, :], c[:, j])
for j in range(24):
    a[:, j] = torch.mv(b, c[:, j])
"""
TRAINING = """
x, y = torch.randn(300, 5), torch.randn(300)
w, bias = torch.normal(0.0, 0.01, (5, 1), requires_grad=True), torch.zeros(1, requires_grad=True)
for _ in range(3):
    for part, wanted in data.DataLoader(data.TensorDataset(x, y), 10, shuffle=True):
        loss = (((part @ w + bias) - wanted.reshape(-1, 1)) ** 2 / 2).mean()
        loss.backward()
        for p in (w, bias):
            p.data.sub_(0.05 * p.grad)
            p.grad.data.zero_()
"""
FLYING = """
big = torch.randn(300, 300)
for _ in range(8):
    z = (big @ big).tanh()
    total, later = z.sum(), (z @ big).tanh() @ z
    total.item()
"""
ENDS = {
    "the end": "",
    "memory that is used again": """
from flambeau.engine.cpu import compiler
class Late:
    def __del__(self, kept=[]):  # as variables go: whatever has gone already is full of ones
        kept.extend(-1_000_000 - k for k in range(300_000))
compiler._late = Late()
""",
    "exit": "sys.exit(3)",
    "an error": "raise KeyError('at the end')",
    "an iterator that is left": "it = iter(data.DataLoader(data.TensorDataset(torch.randn(9, 5)), 2)); batch = next(it)",
    "pending work": "left = (torch.ones(50, 50) @ torch.ones(50, 50)).tanh(); left.mul_(2)",
    "work after the last": """
import atexit
class Late:
    def __del__(self):
        print("late", (torch.ones(40, 40) @ torch.ones(40, 40)).sum().item() == 64000.0)
late = Late()
kept = [late]; kept.append(kept)
atexit.register(lambda: print("at exit", (torch.ones(40, 40) @ torch.ones(40, 40)).sum().item() == 64000.0))
""",
    "work of exit functions from before": "",
    "a thread that works on": """
import threading
def work():
    while True:
        (torch.ones(60, 60) @ torch.ones(60, 60)).tanh().sum().item()
threading.Thread(target=work, daemon=True).start()
""",
    "a fork": """
import os
if os.fork() == 0:
    (torch.ones(50, 50) @ torch.ones(50, 50)).tanh().sum().item()
    sys.exit(0)
assert os.wait()[1] == 0
""",
}
BEFORE = """
import atexit
def first():
    import flambeau as torch
    for _ in range(4):
        z = (torch.ones(300, 300) @ torch.ones(300, 300)).tanh()
        later = (z @ z).tanh() @ z
        assert z.sum().item() > 0
    print("from before")
atexit.register(first)
"""


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_as_it_should(end):
    """Filling a matrix element by element, training in small batches, flights: in the order in which a course does that."""
    program = (BEFORE if "before" in end else "") + LOOP + FILLING + TRAINING + FLYING + ENDS[end]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], env=os.environ.copy(), capture_output=True, text=True, timeout=300
    )
    wanted = {"exit": 3, "an error": 1}.get(end, 0)
    assert done.returncode == wanted, done.stderr
    assert "Fatal" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    if end == "work after the last":
        assert "at exit True" in done.stdout
    if "before" in end:
        assert "from before" in done.stdout, done.stderr
