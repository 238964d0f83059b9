"""``TorchDispatchMode``: which of ATen's operators a program comes to, as PyTorch tells it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

LOG = """
from {utils}.utils._python_dispatch import TorchDispatchMode
class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {{}}))
F = torch.nn.functional
torch.manual_seed(0)
x = torch.rand(2, 3, requires_grad=True); w = torch.rand(4, 3, requires_grad=True); b = torch.rand(4); image = torch.rand(1, 3, 8, 8); cube = torch.rand(2, 5, 3)
log = Log()
with log:
    result = {expression}
"""
# What PyTorch keeps for gradients, and copies of constants.
UNSEEN = ("aten.detach.default", "aten.lift_fresh.default", "aten.empty.memory_format")
CALLS = (
    "F.linear(x, w, b)", "F.linear(x, w)", "F.linear(cube, w, b)", "F.linear(cube, w)", "x @ x.t()", "x @ b[:3]", "cube @ cube.transpose(1, 2)", "cube @ x.t()",
    "F.conv2d(image, torch.ones(4, 3, 3, 3), b, 2, 1)", "F.conv_transpose2d(image, torch.ones(3, 2, 3, 3))", "F.softmax(x, -1)", "x.log_softmax(1)", "F.layer_norm(x, (3,))",
    "F.group_norm(torch.ones(1, 4, 2), 2)", "F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True)", "F.cross_entropy(x, torch.tensor([0, 1]))", "F.mse_loss(x, cube[0, :2])",
    "x.reshape(3, 2)", "x.t().reshape(-1)", "x.flatten()", "x.t().contiguous()", "x.double()", "F.max_pool2d(image, 2)", "F.adaptive_avg_pool2d(image, 1)", "F.adaptive_avg_pool2d(image, 2)",
    "F.embedding(torch.tensor([1]), x)", "x.split(1)", "x.chunk(2)", "x[0]", "x[:, 1:]", "x[torch.tensor([0])]", "b.add_(1)", "b + 1", "b.mul_(b)", "1 - x", "x / 2", "x ** 2", "x * x", "x.sum()",
    "x.sum(1)", "x.mean()", "x.max(1)", "x.argmax(1)", "x == x", "x > 0", "torch.where(x > 0, x, x)", "x.masked_fill(x > 0, 0.0)", "torch.cat([x, x])", "torch.stack([x, x])", "x.T",
    "x.expand(2, 2, 3)", "x.unsqueeze(0)", "F.gelu(x)", "F.relu(x)", "F.silu(x)", "x.sqrt()", "x.norm()", "torch.zeros(2)", "torch.ones_like(x)", "torch.randn(2)", "b.copy_(torch.ones(4))", "torch.nonzero(x)",
    "F.dropout(x, 0.5)", "torch.ops.aten.add.Tensor(x, x)", "torch.ops.aten.relu(x)", "torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())(x)",
)  # fmt: skip


def ran(library, name: str, expression: str) -> dict:
    names = {"torch": library}
    exec(LOG.format(utils=name, expression=expression), names)
    return names


@pytest.mark.parametrize("expression", CALLS)
def test_operators(expression):
    ours, theirs = ran(flambeau, "flambeau", expression), ran(torch, "torch", expression)
    assert [op for op in ours["log"].seen if op not in UNSEEN] == [op for op in theirs["log"].seen if op not in UNSEEN]
    one, two = ours["result"], theirs["result"]
    if isinstance(two, torch.Tensor):
        assert torch.allclose(torch.tensor(one.tolist()), torch.tensor(two.tolist()), rtol=1e-5)
        assert one.requires_grad == two.requires_grad


def test_backward_passes_are_seen():
    for library, name in ((torch, "torch"), (flambeau, "flambeau")):
        names = ran(library, name, "F.linear(x, w, b).relu().sum().backward()")
        seen = names["log"].seen
        assert "aten.threshold_backward.default" in seen and seen.count("aten.mm.default") == 2
        names["log"].seen.clear()
        names["x"] * 2
        assert not names["log"].seen


def test_what_a_mode_returns_takes_the_place_of_the_result():
    program = """
from {name}.utils._python_dispatch import TorchDispatchMode
class Doubled(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {{}})) * 2 if func is torch.ops.aten.add.Tensor else func(*args, **(kwargs or {{}}))
class Refusing(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise ValueError(str(func))
x = torch.ones(2)
with Doubled():
    first = (x + 1).tolist()
    with Doubled():
        second = (x + 1).tolist()
try:
    with Refusing():
        x.mul(3)
except ValueError as error:
    refused = str(error)
after = (x + 1).tolist()
result = first, second, refused, after
"""
    outcomes = []
    for library, name in ((torch, "torch"), (flambeau, "flambeau")):
        names = {"torch": library}
        exec(program.format(name=name), names)
        outcomes.append(names["result"])
    assert outcomes[0] == outcomes[1]
