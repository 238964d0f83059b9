"""Calls that follow recipes where their arguments are out of the ordinary: memory that NumPy sees, several results."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.core import config
from flambeau.engine import run
from flambeau.ops import registry
from flambeau.ops.record import pointwise
from flambeau.tensor import recipes

pytestmark = pytest.mark.skipif(config.eager, reason="nothing is remembered in immediate mode")


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def in_full(monkeypatch, slot: str) -> list[str]:
    """The names of the ops that are recorded in full from now on."""
    seen: list[str] = []
    real = getattr(dispatch, slot)
    monkeypatch.setattr(dispatch, slot, lambda op, *rest: (seen.append(op.name), real(op, *rest))[1])
    return seen


def test_an_input_that_numpy_sees_is_saved_as_it_was(monkeypatch):
    """A layer on a batch of ``torch.from_numpy(data)``: followed, and yet what NumPy writes later changes nothing."""
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    inputs, w = torch.from_numpy(data), torch.ones(3, 2, requires_grad=True)
    seen: list[str] = []
    for k in range(5):
        data[...] = k + np.arange(12).reshape(4, 3)
        expected = data.copy()
        rows, columns, whole = inputs[1:3].mm(w), inputs[:, ::2].mm(w[::2]), inputs.mm(w)
        squares = (inputs[1:] * inputs[1:] * w.sum()).sum()
        data[...] = -1
        w.grad = None
        (rows.sum() + 2 * columns.sum() + 4 * whole.sum() + squares).backward()
        ones = np.ones((3, 2))
        of_columns = np.array([1.0, 0.0, 1.0])[:, None]
        slopes = ones * expected[1:3].sum(0)[:, None] + 2 * ones * of_columns * expected.sum(0)[:, None]
        slopes += 4 * ones * expected.sum(0)[:, None] + (expected[1:] ** 2).sum()
        assert np.allclose(w.grad.numpy(), slopes) and np.allclose(whole.tolist(), expected.sum(1)[:, None] * np.ones(2))
        if k == 1:
            seen = in_full(monkeypatch, "record")
    assert seen == []


def test_an_input_that_numpy_sees_and_that_wants_a_gradient():
    data = np.array([[1.0, 2.0]], np.float32)
    x, w = torch.from_numpy(data).requires_grad_(), torch.tensor([[3.0], [4.0]], requires_grad=True)
    for k in range(4):
        data[...] = k
        y = x.mm(w)
        data[...] = 100
        w.grad = x.grad = None
        y.backward()
        assert w.grad.tolist() == [[k], [k]] and x.grad.tolist() == [[3.0, 4.0]] and y.item() == 7 * k


def test_hooks_on_saved_values_that_numpy_sees():
    data, w = np.array([[1.0, 2.0]], np.float32), torch.ones(2, 1, requires_grad=True)
    x = torch.from_numpy(data)
    packed = []
    for hooked in (False, False, True, False):
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.tolist()) or t, lambda t: t)
        with hooks if hooked else nullcontext():
            x.mm(w).backward()
    assert packed == [[[1.0, 2.0]]] and w.grad.tolist() == [[4.0], [8.0]]


def test_several_views_are_followed(monkeypatch):
    """Pieces of a tensor: on its tape, with its writes, and of another shape where it has one."""
    seen: list[str] = []
    for k in range(4):
        x = torch.arange(6.0).requires_grad_()
        base = (x * 1).view(2, 3)
        a, b, c = base.unbind(1)
        assert [v.tolist() for v in (a, b, c)] == [[0, 3], [1, 4], [2, 5]] and a._base is not None and a.stride() == (3,)
        (b * a + c).sum().backward()
        assert x.grad.tolist() == [1, 0, 1, 4, 3, 1] and c.grad_fn.name() == "UnbindBackward0"
        top, rest = torch.zeros(3, 2).split([1, 2])
        rest += k
        assert top._base.tolist() == [[0, 0], [k, k], [k, k]] and rest.storage_offset() == 2
        if k == 1:
            seen = in_full(monkeypatch, "view")
    assert seen == []
    assert [v.shape for v in torch.zeros(4, 2).split([1, 2, 1])] == [(1, 2), (2, 2), (1, 2)]


def test_a_view_of_several_of_a_base_that_is_written_to_joins_its_tape():
    for _ in range(3):
        w = leaf(2.0, 3.0)
        base = w * 1
        part = base[:2]
        base.mul_(5)
        first, _ = part.split(1)
        first.sum().backward()
        assert w.grad.tolist() == [5, 0]


def test_indices_are_looked_at_in_every_call(monkeypatch):
    """Calls that may refuse their values are followed where the values are known, and refuse them at the caller's line."""
    table = torch.arange(8.0).view(4, 2).requires_grad_()
    for row in (0, 3, 1):
        picked = torch.nn.functional.embedding(torch.tensor([row, 2]), table)
        assert picked.tolist() == [[2 * row, 2 * row + 1], [4, 5]]
    seen = in_full(monkeypatch, "record")
    assert torch.nn.functional.embedding(torch.tensor([0, 1]), table).tolist() == [[0, 1], [2, 3]] and seen == []
    with pytest.raises(IndexError, match="index out of range"):
        torch.nn.functional.embedding(torch.tensor([0, 4]), table)
    late = torch.nn.functional.embedding(torch.tensor([1, 2]) + 1, table)  # not known yet: what is pending runs
    assert "_embedding" not in seen and late.tolist() == [[4, 5], [6, 7]]
    with pytest.raises(IndexError, match="index out of range"):
        torch.nn.functional.embedding(torch.tensor([3, 2]) + 1, table)


def test_results_that_are_followed_have_their_places_on_the_tape():
    for _ in range(3):
        x = torch.tensor([[1.0, 5.0], [7.0, 2.0]], requires_grad=True)
        values, indices = x.max(1)
        assert values.grad_fn.name() == "MaxBackward0" and indices.grad_fn is None and not indices.requires_grad
        (values * values).sum().backward()
        assert x.grad.tolist() == [[0, 10], [14, 0]]


def test_what_runs_finds_no_node_that_only_a_recipe_knows(monkeypatch):
    """A trace that runs because it is long keeps what the program can see: a view that an op reads is none of it."""
    x, w = torch.ones(4, 3), torch.ones(2, 3).t()
    for _ in range(2):
        assert x.mm(w).tolist() == [[3, 3]] * 4
    kept: dict[str, bool] = {}

    def marked(trace: list) -> None:
        mark_needed(trace)
        kept.update((node.op.name, node.kept) for node in trace if node is not None)

    mark_needed = run.mark_needed
    monkeypatch.setattr(run, "mark_needed", marked)
    monkeypatch.setattr(config, "max_pending_nodes", 2)
    monkeypatch.setattr(config, "compiled", False)
    result = x.mm(w)
    assert kept == {"view": False, "mm": True} and result.tolist() == [[3, 3]] * 4


def test_lists_of_tensors_are_followed(monkeypatch):
    def joined(a, b):
        return torch.cat([a, b], 1), torch.stack((a, b, a)), torch.cat([a, b, a, b], dim=-1)

    a, b = torch.arange(6.0).view(2, 3).requires_grad_(), torch.ones(2, 3)
    for k in range(4):
        x, y, z = joined(a * k, b)
        if k == 2:
            seen = in_full(monkeypatch, "record")
        assert x.shape == (2, 6) and y.shape == (3, 2, 3) and z.shape == (2, 12)
        assert x.tolist() == [[0, k, 2 * k, 1, 1, 1], [3 * k, 4 * k, 5 * k, 1, 1, 1]]
        assert torch.equal(y, torch.stack([x[:, :3], b, x[:, :3]])) and torch.equal(z, torch.cat([x, x], 1))
        a.grad = None
        ((x * 2).sum() + y.sum() + z.sum()).backward()
        assert torch.equal(a.grad, torch.full((2, 3), 6.0 * k))
    assert "cat" not in seen and "stack" not in seen
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        torch.cat([a, torch.ones(3, 2)], 1)
    with pytest.raises(TypeError, match="element 1"):
        torch.cat([a, 3.0], 1)
    assert torch.cat([b] * 40).shape == (80, 3)


def test_many_known_tensors_are_joined_at_once():
    arrays = [np.full(3, float(k), np.float32) for k in range(20)]
    rows = [torch.from_numpy(a) for a in arrays]
    stacked, joined = torch.stack(rows), torch.cat([r[1:] for r in rows])
    arrays[4][:] = 100  # comes too late
    assert stacked[4].tolist() == [4, 4, 4] and joined[8:10].tolist() == [4, 4]
    later = torch.stack([r * 2 for r in rows])  # not known yet
    assert later.shape == (20, 3) and later[5].tolist() == [10, 10, 10] and later[4].tolist() == [200, 200, 200]
    w = torch.ones(3, requires_grad=True)
    torch.stack([w] + rows).sum().backward()
    assert w.grad.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="equal size"):
        torch.stack([*rows, torch.zeros(2)])


def test_a_number_that_the_check_refuses_is_checked_each_time():
    """No recipe leaves a number open whose value the op's check looks at: it would be followed without the check."""

    @pointwise(
        name="_root_of_ratio",
        kernel=lambda x, n, scale: np.sqrt(x / n) * scale,
        tensors="input n",
        result="float",
        method=False,
    )
    def root_of_ratio(input, n):
        if n <= 0:
            raise ValueError(f"n must be positive, but got {n}")
        return (input, n), {"scale": 2.0 if n > 50 else 1.0}

    try:
        x = torch.tensor([4.0, 16.0])
        for n in (1.0, 1.0, 4.0, 4.0, 64.0, 64.0, 1.0):
            wanted = np.sqrt(np.array([4.0, 16.0]) / n) * (2.0 if n > 50 else 1.0)
            np.testing.assert_allclose(root_of_ratio(x, n).numpy(), wanted)
            with pytest.raises(ValueError, match="must be positive"):
                root_of_ratio(x, -n)
    finally:
        registry.pop("_root_of_ratio", None)


@pytest.mark.parametrize("name", ["mul", "add", "lerp"])
def test_numbers_of_common_ops_stay_open(name):
    """A learning rate that changes with each step needs no recipe of its own, whatever was called before."""
    recipes.forget()
    x, y = torch.ones(3), torch.ones(3)
    op = registry[name]
    for _ in range(2):
        torch.add(torch.arange(3), True).tolist()  # a number that becomes another one: such calls do need one each
    assert name != "add" or op.closed
    call = op.function if name != "lerp" else lambda a, n: torch.lerp(a, y, n)
    call(x, 0.5).tolist()
    call(x, 0.75).tolist()
    known = set(op.recipes)
    for n in (0.25, 0.125):
        call(x, n)
    assert known and set(op.recipes) == known


def test_memory_is_not_exchanged_on_the_tape():
    w = leaf(1.0, 2.0)
    for held in (w, w * 2, w[:]):
        with pytest.raises(RuntimeError, match="in-place operation|derivative for set_"):
            held.set_(torch.zeros(2))
    with torch.no_grad():
        assert w.set_(torch.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, n: x * n,
        lambda x, n: x // n,
        lambda x, n: x % n,
        lambda x, n: x == n,
        lambda x, n: x.clamp(0, n),
        lambda x, n: x.masked_fill(x > 2, n),
    ],
)
def test_numbers_of_any_size_are_followed(call, monkeypatch):
    """Python has one object for each of its small integers, and makes others anew."""
    x = torch.tensor([1, 2, 3], dtype=torch.int64)
    for n in (7, 1000, 10**12, 2**62):
        expected = call(x, n).tolist()
        for _ in range(4):
            assert call(x, n).tolist() == expected
        seen = in_full(monkeypatch, "record_pointwise")
        assert call(x, n).tolist() == expected and not seen
    small = torch.tensor([1, 2, 3], dtype=torch.int8)
    assert [(small * n).tolist() for n in (2, 300, 2, 300)] == [[2, 4, 6], [44, 88, -124], [2, 4, 6], [44, 88, -124]]
