"""What a rule of the tape records is recorded again for other entries like it, and nothing of that can be seen."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import repetition, rules
from flambeau.autograd.entries import OpBackward
from flambeau.core import config
from flambeau.core.random import Generator
from flambeau.ops.record import registry
from flambeau.tensor.recipes import whole
from tests.test_ops import SAMPLED, as_function, has_derivative, samples

pytestmark = pytest.mark.skipif(config.eager, reason="nothing is remembered in immediate mode")


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """No pass is repeated as a whole."""
    monkeypatch.setattr(repetition, "survey", lambda *_: None)
    monkeypatch.setattr(repetition, "follow", lambda *_: False)


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def entry_of(result: torch.Tensor) -> OpBackward:
    assert isinstance(result.grad_fn, OpBackward)
    return result.grad_fn


def written_down(entry: OpBackward) -> int:
    return sum([len(found) for found in entry.pattern.recorded.values() if found.__class__ is tuple])


def entries(results) -> list[OpBackward]:
    """All ops' entries that lead to ``results``."""
    found, stack = [], [t.grad_fn for t in results]
    while stack:
        entry = stack.pop()
        if entry is None or entry in found:
            continue
        found.append(entry)
        stack += [edge[0] for edge in entry.edges if edge is not None]
    return [entry for entry in found if isinstance(entry, OpBackward)]


def state(results, gs) -> list:
    """Of gradients everything that can be seen, and which of them are the same tensor or share memory."""
    found: list = []
    for i, t in enumerate(results):
        if t is None:
            found.append(None)
            continue
        same = [j for j, other in enumerate([*gs, *results[:i]]) if other is t]
        memory = [j for j, other in enumerate([*gs, *results[:i]]) if other is not None and other._storage is t._storage]
        found.append(
            (
                t.shape,
                t.dtype,
                t.stride(),
                t.requires_grad,
                t._version,
                same,
                memory,
                t.detach().clone().resolve_conj().numpy().tobytes(),
            )
        )
    return found


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_a_rule_that_is_recorded_again_gives_what_running_it_gives(op, monkeypatch):
    """For every sample: on the values that it was written down with, and on others, bit for bit."""
    monkeypatch.setattr(config, "compiled", False)
    for sample in samples(op):
        function, inputs = as_function(op, sample)
        if not inputs:
            continue
        draws = Generator.draws
        results = function(*inputs)
        if not results or not has_derivative(results[0], inputs) or Generator.draws != draws:
            continue
        for k in range(3):
            changed = [(t.detach() * (1 + 0.01 * k)).requires_grad_() for t in inputs]
            for entry in entries(function(*changed)):
                torch.manual_seed(k)
                gs: list = [
                    torch.randn(shape, dtype=torch.float64).to(dtype) for shape, dtype in entry.metas if dtype.is_floating_point
                ]
                if len(gs) < len(entry.metas):
                    continue
                with torch.no_grad():
                    got = state(rules.run(entry, gs, k), gs)
                    assert got == state(rules.fitted(entry, entry.apply(gs)), gs), (sample, entry)


def test_what_comes_once_is_not_written_down(monkeypatch):
    monkeypatch.setattr(rules, "AT_FIRST_SIGHT", False)
    x = leaf(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    for k in range(4):
        y = x.tan()
        y.backward(torch.ones(7))
        assert written_down(entry_of(x.tan())) == (k > 0)
        np.testing.assert_allclose(x.grad.numpy(), (k + 1) * (1 + np.tan(x.detach().numpy()) ** 2), rtol=1e-5)


def test_what_comes_twice_in_one_pass_is_not_written_down_either(monkeypatch):
    monkeypatch.setattr(rules, "AT_FIRST_SIGHT", False)
    x = leaf(*[0.1] * 11)
    for k in range(3):
        y = x
        for _ in range(5):
            y = y.cos()
        y.backward(torch.ones(11))
        assert written_down(entry_of(y)) == (k > 0)


def test_passes_of_another_structure_use_what_rules_have_recorded():
    w = leaf(0.5, -0.25)
    for depth in (3, 1, 4, 2):
        h = w * 1
        for _ in range(depth):
            h = (h * w).tanh()
        count = written_down(entry_of(h))
        (by_rules,) = torch.autograd.grad(h.sum(), w, retain_graph=True)
        assert written_down(entry_of(h)) == (2 if depth == 3 else count)  # the first gradient is an expanded one
        v = w.detach().double().requires_grad_()
        g = v * 1
        for _ in range(depth):
            g = (g * v).tanh()
        assert torch.allclose(by_rules.double(), torch.autograd.grad(g.sum(), v)[0], rtol=1e-5)


@pytest.mark.parametrize("first", [0, 1])
def test_which_values_are_the_same_matters(first):
    x, y = leaf(2.0, 3.0, 4.0, 8.0, 9.0), leaf(5.0, 7.0, 1.0, 0.5, 6.0)
    for k in range(4):
        a, b = ((x, x), (x, y))[(first + k) % 2]
        x.grad = y.grad = None
        (a * b).sum().backward()
        assert written_down(entry_of(a * b)) == 1
        if a is b:
            assert x.grad.tolist() == [4.0, 6.0, 8.0, 16.0, 18.0] and y.grad is None
        else:
            assert x.grad.tolist() == y.tolist() and y.grad.tolist() == x.tolist()


def test_saved_numbers_matter():
    x = leaf(1.0, 2.0)
    for factor in (2.0, 3.0, 2.0, -1.5, 3.0, 0.0, -0.0):
        x.grad = None
        (x * factor).sum().backward()
        assert [np.copysign(1.0, v) * abs(v) for v in x.grad.tolist()] == [factor, factor]
        assert np.signbit(x.grad.numpy()).tolist() == [np.signbit(factor)] * 2


def test_inputs_of_several_shapes_are_summed_to_each():
    a = torch.ones(4, 3, requires_grad=True)
    for _ in range(3):
        for shape in ((4, 3), (1, 3), (3,), (4, 1), ()):
            b = torch.ones(shape, requires_grad=True)
            (a + b).sum().backward()
            assert b.grad.shape == shape and (b.grad == 12 / max(b.numel(), 1)).all()


def test_the_memory_of_keys_is_bounded():
    x = torch.ones(5, 2, requires_grad=True)
    for k in range(3 * rules.MAX_KEYS):
        (x * (k + 0.5)).sum().backward()
    assert len(entry_of(x * 0.5).pattern.recorded) <= rules.MAX_KEYS


def test_gradients_in_memory_that_somebody_else_writes_to():
    array = np.ones(3, np.float32)
    w = leaf(1.0, 2.0, 3.0)
    for k in range(3):
        array[...] = k
        w.grad = None
        (w * w).backward(torch.from_numpy(array))
        array[...] = 100
        assert w.grad.tolist() == [2.0 * k, 4.0 * k, 6.0 * k]


def test_gradients_that_are_rows_of_data():
    data = torch.arange(12.0).reshape(4, 3) + 0
    data.sum().item()
    w = leaf(1.0, 2.0, 3.0)
    for k in (0, 2, 1, 3):
        w.grad = None
        (w * w).backward(data[k])
        assert w.grad.tolist() == [2.0 * (3 * k), 4.0 * (3 * k + 1), 6.0 * (3 * k + 2)]


def test_a_returned_gradient_may_be_written_to():
    given = torch.tensor([1.0, 1.0])
    for _ in range(3):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        first, second = torch.autograd.grad((a + b) * 2, (a, b), given)
        assert first is second
        first.mul_(10)
        assert torch.autograd.grad(a + b, a, given)[0] is given
        assert first.tolist() == [20.0, 20.0] and a.tolist() == [1.0, 2.0]


def test_constants_of_a_rule_stay_as_they_are():
    for _ in range(3):
        x = torch.arange(4.0).requires_grad_()
        (g,) = torch.autograd.grad(x.round().sum(), x)
        assert g.tolist() == [0.0] * 4
        g.add_(5)


def test_hooks_see_each_gradient():
    seen: list = []
    for k in range(3):
        x = leaf(1.0, 2.0)
        y = x * 3
        y.register_hook(lambda g: seen.append(g.tolist()))
        (y * (k + 1)).sum().backward()
        assert x.grad.tolist() == [3.0 * (k + 1)] * 2
    assert seen == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_autocast_and_anomaly_run_rules_as_they_are_written():
    x, w = torch.ones(2, 3), torch.ones(3, 2, requires_grad=True)
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autograd.set_detect_anomaly(True):
                x.mm(w).sum().backward()
        with torch.autocast("cpu"):
            x.mm(w).float().sum().backward()
    assert w.grad.tolist() == [[12.0] * 2] * 3


@pytest.mark.parametrize("at_first_sight", [False, True])
def test_calls_in_a_rule_that_is_written_down_leave_no_recipes(monkeypatch, at_first_sight):
    monkeypatch.setattr(rules, "AT_FIRST_SIGHT", at_first_sight)
    shape = (19, 3 + at_first_sight)
    x = torch.ones(shape, requires_grad=True)
    for _ in range(4):
        x.grad = None
        (x * x).sigmoid().sum().backward()
        assert (x.grad - 0.39322388).abs().max() < 1e-6
    off_the_tape = [key for op in ("mul", "rsub") for key in registry[op].recipes if key[-1] is False]
    assert not [key for key in off_the_tape if any([getattr(part, "shape", None) == shape for part in key])]
    with torch.no_grad():  # elsewhere they do
        for _ in range(4):
            torch.sum(x * x).item()
    assert [key for key in registry["mul"].recipes if key[-1] is False and getattr(key[0], "shape", None) == shape]


def test_rules_that_threads_run_at_once_leave_recipes_to_other_calls():
    class Slow:
        edges = ()

        def __init__(self, begun, until):
            self.begun, self.until = begun, until

        def apply(self, gs):
            self.begun.set()
            assert self.until.wait(30)
            return ()

    first_begun, second_begun, first_may_end, second_may_end = [threading.Event() for _ in range(4)]
    first = threading.Thread(target=rules._written, args=(Slow(first_begun, first_may_end), []))
    second = threading.Thread(target=rules._written, args=(Slow(second_begun, second_may_end), []))
    for thread, begun in ((first, first_begun), (second, second_begun)):
        thread.start()
        assert begun.wait(30)
    for thread, may_end in ((first, first_may_end), (second, second_may_end)):
        may_end.set()
        thread.join()
    assert not whole.written
