"""Composites that repeat the calls that they made: nothing that can be observed differs from running them in full."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager, nullcontext
from threading import Thread

import numpy as np
import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.core import config, errors
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from flambeau.tensor import composites
from flambeau.tensor.recipes import MAX_RECIPES, forget

pytestmark = pytest.mark.skipif(config.eager, reason="nothing is remembered in immediate mode")

F = torch.nn.functional
SAMPLED = {id(op): op for op in registry.values() if op.samples}.values()
COMPOSITES = [op for op in SAMPLED if op.form == "composite"]


@pytest.fixture(autouse=True)
def warn_always(monkeypatch):
    """What a call warns of does not depend on those before."""
    monkeypatch.setattr(errors, "warn_always", True)


def tensors_of(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors_of(v)] if isinstance(value, (tuple, list)) else []


def chain(fn) -> list:
    """The tape from an entry on: the entries' names, and which of those before lead to which."""
    found: dict = {}
    lines, todo = [], [fn]
    for fn in todo:
        if fn is not None and fn not in found:
            found[fn] = len(found)
            todo += [f for f, _ in fn.next_functions]
    for fn in found:
        lines.append((fn.name(), [(found.get(f), i) for f, i in fn.next_functions]))
    return lines


def facts(op, sample, how, change) -> list:
    """All that a program can see of a call."""
    change(sample)
    given = tensors_of([sample.args, sample.kwargs])
    found: list = []
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as warned, how(found):
        warnings.simplefilter("always")
        result = op.function(*sample.args, **sample.kwargs)
    results = tensors_of(result)
    found += [str(w.message) for w in warned] + [type(result).__name__, torch.get_rng_state().tolist()[:64]]
    for t in results:
        found += [t.shape, t.stride(), t.storage_offset(), t.dtype, t.requires_grad, t.is_leaf, t.output_nr, chain(t.grad_fn)]
        found += [[t is x for x in given], [t._storage is x._storage for x in given], [t._base is x for x in given]]
        found += [t._base is None, t.detach().clone()._array()]
    found += [t._version for t in given] + [t.clone()._array() for t in given if not t.requires_grad]
    leaves = [t for t in given if t.requires_grad and t.is_leaf]
    wanted = [t for t in results if t.requires_grad]
    if leaves and wanted:
        total = sum((t.abs() * t.abs()).sum() for t in wanted)
        try:
            first = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        except (NotImplementedError, RuntimeError) as error:
            assert "derivative for" in str(error)  # PyTorch has none either
            return [*found, str(error)]
        found += [g if g is None else (chain(g.grad_fn), g.detach()._array()) for g in first]
        twice = [g for g in first if g is not None and g.requires_grad]
        if twice:
            second = torch.autograd.grad(sum((g.abs() * g.abs()).sum() for g in twice), leaves, allow_unused=True)
            found += [g if g is None else g._array() for g in second]
    return found


def same(a, b) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    return type(a) is type(b) and a == b


@contextmanager
def in_full():
    """Composites run as they are written."""
    real, dispatch.compose = dispatch.compose, composites.in_full
    forget()
    try:
        yield
    finally:
        dispatch.compose = real


@contextmanager
def hooks(found):
    """Saved values are seen, and changed, by hooks."""
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (found.append(t.shape), t.detach().clone())[1], lambda t: t):
        yield


def nothing(sample) -> None:
    pass


def seen_by_numpy(sample) -> None:
    """NumPy shares the memory of all arguments."""
    for t in tensors_of([sample.args, sample.kwargs]):
        t.detach().numpy()
        t._storage.expose()


WAYS = {
    "plainly": (lambda found: nullcontext(), nothing),
    "no_grad": (lambda found: torch.no_grad(), nothing),
    "hooks": (hooks, nothing),
    "anomaly": (lambda found: torch.autograd.set_detect_anomaly(True, check_nan=False), nothing),
    "exposed": (lambda found: nullcontext(), seen_by_numpy),
}


@pytest.fixture
def all_warnings():
    """What a process is warned of once, it is warned of each time."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("op", COMPOSITES, ids=lambda op: op.name)
def test_a_repeated_call_is_as_in_full(op, way, monkeypatch, all_warnings):
    monkeypatch.setattr(config, "compiled", False)  # plans may round differently from the interpreter
    how, change = WAYS[way]

    def samples(seed: int) -> list:
        return list(op.samples(Make(seed)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with in_full():
            expected = [facts(op, sample, how, change) for sample in samples(1)]
        forget()
        for _ in range(2):
            for sample in samples(0):
                facts(op, sample, how, change)
        for sample, wanted in zip(samples(1), expected, strict=True):
            assert same(facts(op, sample, how, change), wanted), sample


def on_rows(start: int, which: str):
    """Has all arguments, or the first one, be rows of some data, from ``start`` on."""

    def moved(value):
        if isinstance(value, torch.Tensor):
            value = value.detach()
            data = torch.stack([torch.zeros_like(value)] * start + [value] + [torch.ones_like(value)] * (3 - start))
            data.tolist()
            return data[start]
        if isinstance(value, dict):
            return {name: moved(v) for name, v in value.items()}
        return type(value)([moved(v) for v in value]) if type(value) in (tuple, list) else value

    def change(sample) -> None:
        if which == "all":
            sample.args, sample.kwargs = moved(sample.args), moved(sample.kwargs)
        elif sample.args:
            sample.args = (moved(sample.args[0]), *sample.args[1:])

    return change


@pytest.mark.parametrize("which", ["all", "first"])
@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_a_repeated_call_on_other_rows_is_as_in_full(op, which, monkeypatch):
    monkeypatch.setattr(config, "compiled", False)

    def run(start: int, seed: int, each=lambda: None) -> list:
        found = []
        for sample in op.samples(Make(seed)):
            each()
            found.append(facts(op, sample, lambda found: nullcontext(), on_rows(start, which)))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with in_full():
            expected = run(2, 1, forget)
        forget()
        for start in (0, 1, 0):
            run(start, 0)
        for got, wanted in zip(run(2, 1), expected, strict=True):
            assert same(got, wanted)


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """The names of the composites whose own Python runs, from the third call on if it is cleared then."""
    forget()
    found: list[str] = []
    for op in {id(op): op for op in registry.values() if op.form == "composite"}.values():

        def check(*args, op=op, real=op.check, **kwargs):
            found.append(op.name)
            return real(*args, **kwargs)

        monkeypatch.setattr(op, "check", check)
        monkeypatch.setattr(op, "patience", 64)  # whatever was called in this process before
    return found


def layer_calls(round: int) -> list[torch.Tensor]:
    torch.manual_seed(round)
    x, w, b = torch.randn(4, 3), torch.randn(2, 3, requires_grad=True), torch.randn(2, requires_grad=True)
    y = F.linear(x, w, b)
    images = torch.randn(2, 3, 5, 5)
    mean, var = torch.zeros(3), torch.ones(3)
    normed = F.batch_norm(images, mean, var, torch.ones(3), torch.zeros(3), training=True)
    return [
        y, F.cross_entropy(y, torch.tensor([0, 1, 1, 0])), F.layer_norm(y, (2,), b, b.detach()), F.mse_loss(y, x[:, :2]),
        y.reshape(-1), *y.chunk(2, 1), *x.split(2), torch.where(y > 0, y, 0.0), x.t().contiguous(), normed, mean, var,
        F.conv2d(images, torch.ones(1, 3, 2, 2)), F.embedding(torch.tensor([1, 0]), w),
    ]  # fmt: skip


def test_layers_and_losses_are_followed(ran):
    for _ in range(2):
        layer_calls(0)
        torch.synchronize()  # calls come again in another trace
    ran.clear()
    results = layer_calls(1)
    assert set(ran) <= {"randn", "zeros", "ones"}
    with in_full():
        assert all(torch.equal(a, b) for a, b in zip(results, layer_calls(1), strict=True))


def test_arguments_of_every_kind_are_told_apart():
    x = torch.arange(6.0).reshape(2, 3)
    for _ in range(4):
        assert torch.where(x > 2, x, 1).dtype is torch.where(x > 2, x, True).dtype is torch.float32
        assert torch.where(x > 2, 1, 0).dtype is torch.int64 and torch.where(x > 2, True, False).dtype is torch.bool
        assert str(torch.where(x > 9, x, -0.0)[0, 0].item()) == "-0.0" and str(torch.where(x > 9, x, 0.0)[0, 0].item()) == "0.0"
        assert [t.shape[0] for t in x.t().split(2)] == [2, 1] == [t.shape[0] for t in x.t().split([2, 1])]
        with pytest.raises(TypeError):
            F.layer_norm(x, 3)
        assert F.layer_norm(x, [3]).shape == F.layer_norm(x, (3,)).shape


def test_an_argument_given_twice():
    x, y = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    m = torch.nn.MultiheadAttention(3, 1, batch_first=True)
    expected = m(x, y, y)[0], m(x, x, x)[0]
    for _ in range(4):
        assert torch.allclose(m(x, y, y.clone())[0], expected[0], atol=1e-6)
        assert torch.allclose(m(x, x, x)[0], expected[1], atol=1e-6)
        assert torch.equal(torch.where(x > 0, x, x), x) and torch.equal(torch.where(x > 9, x, y), y)


def test_warnings_and_random_numbers_come_each_time():
    x, y = torch.ones(3, 1), torch.ones(3)
    for _ in range(4):
        with pytest.warns(UserWarning, match="target size"):
            F.mse_loss(x, y)
    masks = {tuple(F.dropout(torch.ones(30)).tolist()) for _ in range(6)}
    assert len(masks) == 6


def test_values_are_looked_at_each_time():
    scores = torch.zeros(2, 3, requires_grad=True) * 1
    for k in range(5):
        assert F.cross_entropy(scores, torch.tensor([k % 3, 0])).item() == pytest.approx(np.log(3))
    for wrong in ([0, 3], [-1, 0]):
        with pytest.raises(IndexError, match="out of bounds"):
            F.cross_entropy(scores, torch.tensor(wrong))
    assert F.cross_entropy(scores, torch.tensor([-100, 0])).item() == pytest.approx(np.log(3))


def test_settings_of_the_process_are_heeded():
    x = torch.arange(4)
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            for _ in range(3):
                assert torch.where(x > 1, 0.5, 1.5).dtype is dtype
        finally:
            torch.set_default_dtype(torch.float32)
    a, w = torch.randn(2, 3), torch.randn(4, 3)
    for _ in range(3):
        assert F.linear(a, w).dtype is F.bilinear(a, a, torch.ones(1, 3, 3)).dtype is torch.inner(a, w).dtype is torch.float32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert F.linear(a, w).dtype is torch.inner(a, w).dtype is torch.bfloat16
            assert F.bilinear(a, a, torch.ones(1, 3, 3)).dtype is torch.float32  # which autocast leaves as it is
        with torch.no_grad():
            assert not F.linear(a, w.requires_grad_()).requires_grad
        assert F.linear(a, w).requires_grad
        w.requires_grad_(False)


def test_what_is_written_is_written_once():
    """Running statistics move by one step in each call, whoever else sees their memory."""
    x = torch.arange(6.0).reshape(3, 2)
    memory = np.zeros(2, np.float32)
    mean, var = torch.from_numpy(memory), torch.ones(2)
    expected = 0.0
    for k in range(6):
        F.batch_norm(x * (k + 1), mean, var, training=True, momentum=0.5)
        expected = expected / 2 + (k + 1)
        assert memory[0] == expected and mean._version == k + 1
    p, q = torch.zeros(2), torch.ones(2)
    with torch.no_grad():
        for k in range(4):
            assert p.copy_(q * k) is p and p.tolist() == [k, k]


def test_views_are_views_of_their_argument(ran):
    for k in range(4):
        x = torch.zeros(2, 3)
        x.reshape(3, 2)[0] = k
        assert x[0].tolist() == [k, k, 0]
        base = torch.zeros(2, 3, requires_grad=True) * 1
        part = base.narrow(1, 0, 1)
        base.mul_(2)  # the view's place on the tape is another one now
        part.reshape(2).sum().backward()


def test_settings_that_never_come_again(monkeypatch):
    """After a table full of them no more are remembered; the second call is taken for one like the first, whose layout was new."""
    op = registry["nn.functional.layer_norm"]
    forget()
    monkeypatch.setattr(op, "patience", op.patience)
    x = torch.tensor([[1.0, 3.0]])
    for k in range(2 * MAX_RECIPES + 50):
        assert F.layer_norm(x, (2,), None, None, k).tolist()[0][1] == pytest.approx(1 / (1 + k) ** 0.5)
    assert op.patience == 0 and not op.recipes


def test_immediate_mode_runs_in_full(monkeypatch):
    x, w = torch.ones(2, 3), torch.ones(2, 3)
    for _ in range(3):
        F.linear(x, w)
    monkeypatch.setattr(config, "eager", True)
    assert F.linear(x, w)._storage.node.value is not None


def test_threads_do_not_disturb_each_other():
    """What one thread calls while another's call is being learned is no part of it."""
    found: list = []

    def work(k: int) -> None:
        for i in range(150):
            n = 2 + i // 3 % 9
            x, w, b = torch.full((n, 3), float(k)), torch.ones(2, 3), torch.full((2,), float(i))
            results = F.linear(x, w, b), F.mse_loss(x, x + 1), x.chunk(3, 1)[2].reshape(-1)
            found.append((*results, [[3.0 * k + i] * 2] * n, k, n))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        forget()
        threads = [Thread(target=work, args=(k,)) for k in range(3)]
        [t.start() for t in threads], [t.join() for t in threads]
    finally:
        sys.setswitchinterval(interval)
    assert len(found) == 450
    for y, loss, column, expected, k, n in found:
        assert y.tolist() == expected and loss.item() == 1 and column.tolist() == [k] * n
