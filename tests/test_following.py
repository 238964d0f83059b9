"""Backward passes that repeat often: what their functions record, and when they must not."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import graph, repetition
from flambeau.core import config, generated
from flambeau.engine import graph as engine
from flambeau.engine import segment
from flambeau.nn import functional
from tests.lateness import look_late

pytestmark = pytest.mark.skipif(config.eager, reason="nothing is remembered in immediate mode")


class Counter:
    """How often a pass has been followed."""

    def __init__(self) -> None:
        self.count = 0
        self.inner = repetition.follow

    def __call__(self, *args) -> bool:
        done = self.inner(*args)
        self.count += done is not False
        return done

    def since(self, start: int) -> int:
        return self.count - start


@pytest.fixture(autouse=True)
def followed(monkeypatch):
    counter = Counter()
    monkeypatch.setattr(repetition, "follow", counter)
    repetition.forget()
    yield counter
    repetition.forget()


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def recorded(start: int) -> list:
    """What stands in the trace from a place on: each node, and its inputs, which are given by their places in the trace."""
    places = {node: i for i, node in enumerate(engine.trace)}
    found = []
    for node in engine.trace[start:]:
        inputs = [places.get(x, x.shape) if x.__class__ is engine.Node else repr(x) for x in node.inputs]
        found.append((node.op.name, repr(node.attrs), node.shape, node.dtype, inputs))
    return found


def run(loss: torch.Tensor, leaves, **options) -> list:
    """What ``loss.backward()`` records, and then the gradients."""
    start = len(engine.trace)
    loss.backward(**options)
    nodes = recorded(start)
    return [nodes, [None if t.grad is None else t.grad.tolist() for t in leaves]]


def in_full(monkeypatch, function, *args):
    """``function(*args)`` with each backward pass run in full."""
    with monkeypatch.context() as patch:
        patch.setattr(repetition, "survey", lambda *_: None)
        patch.setattr(repetition, "follow", lambda *_: False)
        return function(*args)


def by_survey(monkeypatch, function, *args):
    """The same without functions for passes."""
    with monkeypatch.context() as patch:
        patch.setattr(repetition, "follow", lambda *_: False)
        return function(*args)


def check_close(got: list, expected: list) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def weights(*shapes, dtype=torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(len(shapes))
    return [torch.randn(*shape, dtype=dtype).requires_grad_() for shape in shapes]


X = torch.linspace(-1.0, 2.0, 12).reshape(4, 3)
BASE = np.linspace(0.5, 1.5, 12, dtype=np.float32).reshape(4, 3)


def two_layers(w, v):
    return (X.mm(w).clamp(min=0).mm(v) - 1).pow(2).sum()


def diamond(w, v):
    h = X.mm(w)
    return ((h * h).mm(v) * h.sum()).mean() + (h + h).sum()


def same_leaf_twice(w, v):
    return (w * w).sum() * (v + v).sum() + w.mul(w.exp()).mean()


def parts(w, v):
    a, b = X.mm(w).chunk(2, 1)
    return (b * a.exp()).sum() + (v * 2).unbind(0)[1].sum()


def largest(w, v):
    values, places = X.mm(w).max(1)
    return (values * places).sum() + v.sum()


def joined(w, v):
    h = torch.cat([X.mm(w), torch.ones(4, 1), X * w.sum()], 1)
    return (h.tanh() * torch.stack([h, h.exp()]).sum(0)).sum() + v.mean()


def entropy(w, v):
    return functional.cross_entropy(X.mm(w).mm(v), torch.tensor([0, 1, 1, 0]))


def looked_up(w, v):
    return (w[torch.tensor([0, 2, 2])] * w[:, 1:].sum()).sum() + v.index_select(0, torch.tensor([1])).sum()


def views(w, v):
    h = X.mm(w).mul_(2)
    return (h.t().reshape(2, 8) * h.view(-1)[:8]).sum().view(()) + v.T.sum()


def numpy_memory(w, v):
    x = torch.from_numpy(BASE)
    return (x.mm(w).tanh() * x[:, :1]).sum() + (v / 3).sum()


def layer_norm(w, v):
    return functional.layer_norm(X.mm(w), (4,)).square().mm(v).mean()


def of_one_element(w, v):
    return w[:1, :1] * v[0, 0] * 3


def squeezed(w, v):
    return (w.sum(keepdim=True) * v.sum()).squeeze()


def second_output(w, v):
    return torch.stack([w.sum(), v.mul(3).sum()]).unbind()[1]


def deep(w, v):
    h = X.mm(w)
    for _ in range(30):
        h = (h * 0.9).sin() + h
    return h.mm(v).mean()


NETS = [
    two_layers, diamond, same_leaf_twice, parts, largest, joined, entropy, looked_up, views, numpy_memory, layer_norm,
    of_one_element, squeezed, second_output, deep,
]  # fmt: skip


@pytest.mark.parametrize("gradients", ["none", "zeroed", "added"])
@pytest.mark.parametrize("net", NETS)
def test_passes_record_what_they_would_in_full(net, gradients, followed, monkeypatch):
    def steps() -> list:
        leaves, found = weights((3, 4), (4, 2)), []
        for k in range(5):
            for t in leaves:
                if gradients == "none":
                    t.grad = None
                elif gradients == "zeroed" and t.grad is not None:
                    t.grad.zero_()
            found.append(run(net(*leaves), leaves))
            found[-1].append([(t.grad._version, t.grad.is_contiguous(), t.grad.shape) for t in leaves if t.grad is not None])
            with torch.no_grad():
                for t in leaves:
                    t.mul_(1 - 0.1 * k)
        return found

    full = in_full(monkeypatch, steps)
    surveyed = by_survey(monkeypatch, steps)
    repetition.forget()
    got = steps()
    assert followed.count == 3
    for (nodes, values, state), (like, _, _), (_, expected, same) in zip(got, surveyed, full, strict=True):
        assert nodes == like
        check_close(values, expected)
        assert state == same


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype, followed, monkeypatch):
    def steps() -> list:
        w = torch.linspace(-1, 1, 6, dtype=torch.float64).to(dtype).requires_grad_()
        return [run((w * w * 3).sum(), [w])[1][0] for _ in range(5)]

    expected = in_full(monkeypatch, steps)
    assert steps() == expected and followed.count == 3


def warm(followed, loss, leaves) -> None:
    """Lets a pass repeat until it is followed, and leaves no gradients."""
    start = followed.count
    for _ in range(3):
        loss().backward()
    assert followed.since(start)
    for t in leaves:
        t.grad = None


def test_which_entries_are_the_same_matters(followed):
    a, b, c, d = leaf(2.0), leaf(3.0), leaf(5.0), leaf(7.0)

    def shared():
        h = a * b
        return (h * h).sum()

    def separate():
        return ((a * b) * (a * b)).sum()

    def other():
        return ((a * b) * (c * d)).sum()

    for first in (shared, separate, other):
        repetition.forget()
        warm(followed, first, (a, b, c, d))
        for function, expected in ((shared, [36, 24, 0, 0]), (separate, [36, 24, 0, 0]), (other, [105, 70, 42, 30])) * 3:
            for t in (a, b, c, d):
                t.grad = None
            function().backward()
            assert [t.grad.item() if t.grad is not None else 0 for t in (a, b, c, d)] == expected


def test_which_leaves_are_the_same_matters(followed):
    a, b = leaf(2.0), leaf(3.0)
    for first, second in ((a, a), (a, b)):
        repetition.forget()
        warm(followed, lambda first=first, second=second: (first * second).sum(), (a, b))
        for x, y, expected in ((a, a, [4, 0]), (a, b, [3, 2]), (b, a, [3, 2]), (b, b, [0, 6])) * 3:
            a.grad = b.grad = None
            (x * y).sum().backward()
            assert [t.grad.item() if t.grad is not None else 0 for t in (a, b)] == expected


def test_which_values_are_the_same_matters(followed):
    w, x, y = leaf(2.0, 3.0), torch.tensor([5.0, 7.0]), torch.tensor([1.0, -1.0])
    for first, second in ((x, x), (x, y)):
        repetition.forget()
        warm(followed, lambda first=first, second=second: (w * first * second).sum(), [w])
        for a, b in ((x, x), (x, y), (y, x), (y, y)) * 3:
            w.grad = None
            (w * a * b).sum().backward()
            assert w.grad.tolist() == [p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)]


def test_saved_numbers_matter(followed):
    w = leaf(1.0, 2.0)
    warm(followed, lambda: (w * 2).sum(), [w])
    for factor in (2, 2.0, 3, float("2"), 0.0, -0.0, float("nan"), True, 2) * 2:
        w.grad = None
        (w * factor).sum().backward()
        np.testing.assert_array_equal(w.grad.tolist(), [factor, factor])
        assert np.signbit(w.grad.tolist()[0]) == np.signbit(factor) or factor != factor
    with torch.no_grad():
        w.copy_(torch.tensor([2.0, 3.0]))
    for exponent in (2, 3, 2, 1, 0, 3) * 2:
        w.grad = None
        (w**exponent).sum().backward()
        np.testing.assert_allclose(w.grad.tolist(), [exponent * 2.0 ** (exponent - 1), exponent * 3.0 ** (exponent - 1)])


def test_the_first_entries_may_lead_elsewhere(followed):
    w, v = leaf(2.0), leaf(3.0)
    warm(followed, lambda: (w * 2 * w).sum(), [w, v])
    cases = (
        (lambda: (w * 2 * v).sum(), [6, 4]), (lambda: (v * 2 * v).sum(), [0, 12]), (lambda: (w.exp() * 0 * w).sum(), [0, 0]),
        (lambda: (w.detach() * 2 * v).sum(), [0, 4]), (lambda: ((w + v) * 2 * w).sum(), [14, 4]), (lambda: (w * 2 * w).sum(), [8, 0]),
    )  # fmt: skip
    for function, expected in cases * 3:
        w.grad = v.grad = None
        function().backward()
        assert [t.grad.item() if t.grad is not None else 0 for t in (w, v)] == expected


def test_outputs_are_told_apart(followed):
    w = leaf(2.0, 3.0)
    warm(followed, lambda: (w * 1).unbind()[0].exp(), [w])
    for i in (0, 1, 0, 1, 1, 0):
        w.grad = None
        (w * 1).unbind()[i].exp().backward()
        np.testing.assert_allclose(w.grad.tolist(), [np.exp(2.0) * (i == 0), np.exp(3.0) * (i == 1)], rtol=1e-6)
    for i in (0, 1, 0, 1, 1, 0):
        w.grad = None
        (w * 1).unbind()[i].backward()
        assert w.grad.tolist() == [float(i == 0), float(i == 1)]


def test_many_passes_from_one_kind_of_loss(followed):
    w = leaf(0.5, -1.0)

    def chain(n: int):
        h = w
        for _ in range(n):
            h = h * h + w
        return h.sum()

    expected = {}
    for n in range(1, 2 * repetition.MAX_FOLLOWERS):
        w.grad = None
        repetition.forget()
        chain(n).backward()
        expected[n] = w.grad.tolist()
    for _ in range(4):
        for n, gradient in expected.items():
            w.grad = None
            chain(n).backward()
            np.testing.assert_allclose(w.grad.tolist(), gradient, rtol=1e-5)
    assert all(len(functions) <= repetition.MAX_FOLLOWERS for functions in repetition._followers.values())
    for n in (1, 2) * 3:  # the last one that was followed is looked at first
        chain(n).backward()
        chain(n).backward()
    start = followed.count
    chain(1).backward()
    chain(2).backward()
    assert followed.since(start) == 2


def test_a_pass_that_is_no_longer_followed_gets_another_function(followed):
    w = leaf(1.0)
    warm(followed, lambda: (w * 2).sum(), [w])
    (functions,) = repetition._followers.values()
    functions[:] = [(0, lambda *_: False)]
    for _ in range(3):
        (w * 2).sum().backward()
    start = followed.count
    (w * 2).sum().backward()
    assert followed.since(start) == 1


def test_functions_are_written_once_for_each_form(followed):
    generated.forget()
    for shape in ((2,), (3,), (2, 2)):
        w = torch.ones(shape, requires_grad=True)
        warm(followed, lambda w=w: (w * 3).exp().sum(), [w])
    assert len([text for text in generated._makers if "retain_graph" in text]) == 1


def test_long_passes(followed, monkeypatch):
    monkeypatch.setattr(segment, "MAX_WRITTEN", 3)
    w = leaf(0.5, 2.0)
    for _ in range(5):
        w.grad = None
        (w.exp() * w).sin().sum().backward()
        x = np.array([0.5, 2.0])
        np.testing.assert_allclose(w.grad.tolist(), np.cos(np.exp(x) * x) * np.exp(x) * (x + 1), rtol=1e-5)
    assert followed.count == 3
    monkeypatch.setattr(repetition, "MAX_ENTRIES", 3)
    for _ in range(4):
        (w * w * w).sum().backward()
    assert followed.count == 3


# --- leaves and their gradients ------------------------------------------------------------------------------


def test_gradients_of_all_kinds(followed):
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)

    def loss():
        return (w * v).sum()

    warm(followed, loss, (w, v))
    loss().backward()
    assert w.grad.tolist() == [3, 4] and w.grad is not v.grad and not w.grad.requires_grad
    storage = w.grad._storage
    loss().backward()
    assert w.grad._storage is storage and w.grad._version == 1 and w.grad.tolist() == [6, 8]
    view = w.grad[:1]
    loss().backward()
    assert view.tolist() == [9] and w.grad.tolist() == [9, 12]
    rows = torch.zeros(3, 2)
    w.grad = rows[1]  # a view
    loss().backward()
    assert rows.tolist() == [[0, 0], [3, 4], [0, 0]] and w.grad._base is rows
    array = np.ones(2, np.float32)
    w.grad = torch.from_numpy(array)
    loss().backward()
    assert array.tolist() == [4, 5] and w.grad.tolist() == [4, 5]
    array[:] = 0
    loss().backward()
    assert array.tolist() == [3, 4]
    w.grad = torch.ones(2, 2).t()[0]  # not contiguous
    loss().backward()
    assert w.grad.tolist() == [4, 5]
    w.grad = torch.ones(2, requires_grad=True) * 1  # on a tape
    loss().backward()
    assert w.grad.tolist() == [4, 5]
    w.grad = torch.zeros(2)
    v.grad = w.grad  # both the same
    loss().backward()
    assert w.grad is v.grad and w.grad.tolist() == [4, 6]
    w.grad = torch.zeros(4)[::2]
    v.grad = None
    loss().backward()
    assert w.grad.tolist() == [3, 4] and v.grad.tolist() == [1, 2]
    assert followed.count >= 11


def test_a_gradient_is_not_the_memory_of_another(followed):
    for _ in range(5):
        w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
        ((w + v) * torch.tensor([5.0, 6.0])).sum().backward()
        w.grad.mul_(2)
        assert w.grad.tolist() == [10, 12] and v.grad.tolist() == [5, 6]
    assert followed.count == 3


def test_frozen_leaves(followed):
    w, v = leaf(2.0), leaf(3.0)
    warm(followed, lambda: (w * v).sum(), (w, v))
    for frozen in (True, False, True):
        w.grad = v.grad = None
        z = (w * v).sum()
        w.requires_grad_(not frozen)
        z.backward()
        assert (w.grad is None) == frozen and v.grad.item() == 2
        w.requires_grad_()
        w.grad = v.grad = None
        w.requires_grad_(not frozen)
        (w * v).sum().backward()
        assert (w.grad is None) == frozen and v.grad.item() == 2
        w.requires_grad_()


def test_a_leaf_that_gets_another_dtype_or_shape(followed):
    w = torch.nn.Parameter(torch.ones(2))
    warm(followed, lambda: (w * 2).sum(), [w])
    w.data = torch.ones(2, dtype=torch.float64)
    (w * 2).sum().backward()
    assert w.grad.dtype is torch.float64
    w.grad = None
    w.data = torch.ones(3)
    (w * 2).sum().backward()
    assert w.grad.tolist() == [2, 2, 2] and w.grad.dtype is torch.float32


def test_a_parameter_that_is_written_to_has_the_gradient_of_its_old_value(followed):
    w, x = leaf(3.0), leaf(2.0)

    def loss():
        return (w * w * x).sum()

    warm(followed, loss, (w, x))
    z = loss()
    with torch.no_grad():
        w.mul_(10)
    z.backward()
    assert (w.grad.item(), x.grad.item()) == (12, 9)


# --- hooks and modes -----------------------------------------------------------------------------------------


def test_hooks_of_all_kinds_may_come_later(followed):
    w = leaf(1.0, 2.0)
    seen = []

    def step(prepare=lambda h, z: None) -> list:
        w.grad = None
        h = w * 3
        z = (h * h).sum()
        prepare(h, z)
        z.backward()
        return w.grad.tolist()

    warm(followed, lambda: ((h := w * 3) * h).sum(), [w])
    assert step() == [18, 36] and followed.count
    start = followed.count
    assert step(lambda h, z: h.register_hook(lambda g: g * 2)) == [36, 72]
    assert step(lambda h, z: z.register_hook(lambda g: g * 3)) == [54, 108]
    assert step(lambda h, z: h.grad_fn.register_hook(lambda gi, go: seen.append(len(gi)))) == [18, 36]
    assert step(lambda h, z: z.grad_fn.register_prehook(lambda go: (go[0] * 2,))) == [36, 72]
    leaf_entry = w.expand_as(w).grad_fn.next_functions[0][0]
    handle = leaf_entry.register_prehook(lambda go: (go[0] * 5,))
    assert step() == [90, 180]
    handle.remove()
    del leaf_entry
    handle = w.register_hook(lambda g: g * 2)
    assert step() == [36, 72]
    handle.remove()
    handle = w.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.tolist()))
    assert step() == [18, 36]
    handle.remove()
    kept = []
    assert step(lambda h, z: (h.retain_grad(), kept.append(h))) == [18, 36]
    assert kept[0].grad.tolist() == [6, 12]
    assert step(lambda h, z: z.retain_grad()) == [18, 36]
    assert followed.since(start) == 0 and seen == [2, [18, 36]]
    gc.collect()
    assert step() == [18, 36] and followed.since(start) == 1


def test_a_graph_runs_once_unless_it_is_retained(followed):
    w = leaf(2.0)
    warm(followed, lambda: (w * w).sum(), [w])
    start = followed.count
    z = (w * w).sum()
    z.backward(retain_graph=True)
    z.backward(retain_graph=True)
    z.backward()
    assert followed.since(start) == 3 and w.grad.item() == 12
    for _ in range(2):
        with pytest.raises(RuntimeError, match="second time"):
            z.backward()
    assert w.grad.item() == 12
    z = (w * w).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.grad_fn.next_functions[0][0]._saved_self  # noqa: B018


def test_losses_that_cannot_begin_a_pass(followed):
    w = torch.ones(3, requires_grad=True)
    warm(followed, lambda: (w * 2).sum(), [w])
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (w * 2).sum(0, keepdim=True).expand(2).backward()
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (w * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        (w.detach() * 2).sum().backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        (w * 2).sum().backward(inputs=[torch.ones(1)])
    z = (w * 2).sum()
    z.data = torch.zeros(3)
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        z.backward()
    w.grad = None
    (w * 2).sum().backward(torch.tensor(3.0))
    assert w.grad.tolist() == [6, 6, 6]


def test_a_gradient_that_was_given_teaches_nothing_about_losses(followed):
    w, one = leaf(1.0, 2.0), torch.tensor(1.0)
    for _ in range(4):
        (w * 2).sum().backward(one)
    assert not repetition._followers
    warm(followed, lambda: (w * 2).sum(), [w])
    (w * 2).sum().backward(one * 5)
    assert w.grad.tolist() == [10, 10]


def test_modes_run_in_full(followed):
    w = leaf(4.0, 9.0)
    warm(followed, lambda: w.sqrt().sum(), [w])
    start = followed.count
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
        w.sqrt().sum().backward()
        with pytest.raises(RuntimeError, match="nan"):
            (w - 9).sqrt().sum().backward()
    with torch.autograd.graph.save_on_cpu():
        z = w.sqrt().sum()
    w.grad = None
    z.backward()
    assert w.grad.tolist() == [0.25, pytest.approx(1 / 6)]
    with torch.autocast("cpu"):
        w.sqrt().sum().backward()
    assert followed.since(start) == 0
    z = w.sqrt().sum()
    with torch.no_grad():
        z.backward()
    assert followed.since(start) == 1 and torch.is_grad_enabled()
    w.grad = None
    with pytest.warns(UserWarning, match="create_graph"):
        w.sqrt().sum().backward(create_graph=True)
    assert w.grad.requires_grad
    w.grad = None


def test_checkpoints_compute_again(followed):
    from flambeau.utils.checkpoint import checkpoint

    w = leaf(1.0, 2.0)
    calls = []

    def block(x):
        calls.append(1)
        return x.exp() * x

    warm(followed, lambda: block(w).sum(), [w])
    calls.clear()
    start = followed.count
    for _ in range(3):
        w.grad = None
        checkpoint(block, w, use_reentrant=False).sum().backward()
        np.testing.assert_allclose(w.grad.tolist(), np.exp([1.0, 2.0]) * [2.0, 3.0], rtol=1e-6)
    assert len(calls) == 6 and followed.since(start) == 0


def test_custom_functions_are_called(followed):
    calls = []

    class Double(torch.autograd.Function):
        pattern = None

        @staticmethod
        def forward(ctx, x):
            ctx.pattern, ctx.saved = [], {}  # names of the user's own
            return x * 2

        @staticmethod
        def backward(ctx, g):
            calls.append(ctx.pattern)
            return g * 2

    w = leaf(1.0)
    warm(followed, lambda: (w * 2).sum(), [w])
    for _ in range(4):
        w.grad = None
        Double.apply(w).sum().backward()
        Double.apply(w).backward()
        assert w.grad.item() == 4
    assert len(calls) == 8


class Mixed(torch.autograd.Function):
    """Two results and any number of arguments; what it does can be changed."""

    scale = 2.0
    how = staticmethod(lambda g: g * 1)
    calls = 0

    @staticmethod
    def forward(ctx, x, factor, *others):
        ctx.save_for_backward(x, *others)
        ctx.count = len(others)
        return x * Mixed.scale, x.sum() * factor

    @staticmethod
    def backward(ctx, g, h):
        Mixed.calls += 1
        x, *others = ctx.saved_tensors
        return (Mixed.how(g * Mixed.scale) + h * x, None, *[None if o is None else g * o.sum() for o in others])


@pytest.fixture
def mixed():
    Mixed.calls = 0
    yield Mixed
    Mixed.how = staticmethod(lambda g: g * 1)


def mixed_step(w, v, others: tuple) -> list:
    w.grad = v.grad = None
    a, b = Mixed.apply(w.exp(), 3.0, *others)
    c, _ = Mixed.apply(a * b, 1.0)
    loss = (c * a).sum()
    loss.backward()
    return [None if t.grad is None else t.grad.tolist() for t in (w, v)]


def test_custom_functions_with_several_arguments_and_results(followed, mixed, monkeypatch):
    w, v = leaf(0.1, 0.2), leaf(1.0, 3.0)
    forms = ((), (v,), (v.clone(),), (v, v), (None,), (None, v), (v, None), (v.detach(), v))
    for first in forms:
        repetition.forget()
        for _ in range(3):
            mixed_step(w, v, first)
        assert followed.count
        for others in (*forms, *forms):
            expected = in_full(monkeypatch, mixed_step, w, v, others)
            Mixed.calls = 0
            got = mixed_step(w, v, others)
            assert Mixed.calls == 2
            check_close(got, expected)


def test_a_custom_function_may_change_its_mind_in_any_call(followed, mixed, monkeypatch):
    w, v = leaf(0.1, 0.2), leaf(1.0, 3.0)
    for change in (1, 2):
        for how in (lambda g: g.double(), lambda g: g.t(), lambda g: g.detach(), lambda g: torch.from_numpy(g.numpy())):
            repetition.forget()
            Mixed.how = staticmethod(lambda g: g * 1)
            for _ in range(4):
                expected = mixed_step(w, v, (v,))
            Mixed.calls = 0
            Mixed.how = staticmethod(lambda g, change=change, how=how: how(g) if Mixed.calls == change else g * 1)
            for _ in range(3):
                Mixed.calls = 0
                check_close(mixed_step(w, v, (v,)), expected)
                assert Mixed.calls == 2


def test_a_custom_function_that_fails(followed, mixed):
    w, v = leaf(0.1, 0.2), leaf(1.0, 3.0)
    for _ in range(3):
        expected = mixed_step(w, v, (v,))
    Mixed.how = staticmethod(lambda g: 1 / 0)
    start = followed.count
    with pytest.raises(ZeroDivisionError):
        mixed_step(w, v, (v,))
    assert w.grad is None and torch.is_grad_enabled()
    Mixed.how = staticmethod(lambda g: g * 1)
    check_close(mixed_step(w, v, (v,)), expected)
    assert followed.since(start) == 1


def test_what_custom_functions_do_to_leaves_counts(followed, mixed):
    w, v = leaf(0.1, 0.2), leaf(1.0, 3.0)
    for _ in range(3):
        expected = mixed_step(w, v, (v,))
    Mixed.how = staticmethod(lambda g: v.requires_grad_(False) is None or g * 1)
    start = followed.count
    got = mixed_step(w, v, (v,))
    assert got[1] is None and followed.since(start) == 1
    check_close(got[:1], expected[:1])


def test_a_graph_with_a_custom_function_runs_once(followed, mixed):
    w = leaf(0.5)
    for _ in range(4):
        loss = Mixed.apply(w, 1.0)[0].sum()
        loss.backward(retain_graph=True)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
    assert followed.count


def test_a_pass_inside_of_a_custom_function(followed):
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, g):
            with torch.enable_grad():
                x = ctx.saved_tensors[0].detach().requires_grad_()
                x.sin().sum().backward()
            return g * x.grad

    w = leaf(0.5, 1.0)
    for _ in range(6):
        w.grad = None
        Inner.apply(w * 2).sum().backward()
        np.testing.assert_allclose(w.grad.tolist(), 2 * np.cos([1.0, 2.0]), rtol=1e-5)
    assert followed.count > 4


def test_indices_are_looked_at_in_every_pass(followed, monkeypatch):
    w = torch.arange(6.0).reshape(3, 2).requires_grad_()
    warm(followed, lambda: w.index_select(0, torch.tensor([0, 2])).sum(), [w])
    start = followed.count
    w.index_select(0, torch.tensor([1, 1])).sum().backward()
    assert w.grad.tolist() == [[0, 0], [2, 2], [0, 0]] and followed.since(start) == 1
    w.grad = None
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        w.index_select(0, torch.tensor([0, 3]) + 1)
    look_late(monkeypatch)
    rows = w.index_select(0, torch.tensor([0, 3]) + 1)
    loss = rows.sum()
    with pytest.raises(IndexError):
        rows.tolist()
    w.grad = None
    with pytest.raises(RuntimeError, match="index 4 is out of bounds"):  # index_add's error
        loss.backward()
        w.grad.tolist()


def test_what_fails_names_the_line_of_the_pass(followed, monkeypatch):
    w = torch.arange(6.0).reshape(3, 2).requires_grad_()

    def loss(index):
        return w.index_select(0, torch.tensor(index) + 1).sum()

    warm(followed, lambda: loss([0, 1]), [w])
    look_late(monkeypatch)
    start = followed.count
    z = loss([0, 5])
    z.backward()
    del z
    assert followed.since(start) == 1
    with pytest.raises(IndexError) as caught:
        w.grad.tolist()
    assert "test_following.py" in caught.value.__notes__[0]


# --- memory and threads --------------------------------------------------------------------------------------


def test_nothing_is_kept_alive(followed):
    def step():
        w = torch.ones(10).requires_grad_()
        h = w.exp()
        z = (h * w).sum()
        z.backward()
        w.grad.sum().item()
        return [weakref.ref(x) for x in (w, h, z, z.grad_fn, graph.edge_of(w)[0], h._storage.node, w._storage.node)]

    alive = [step() for _ in range(4)]
    assert followed.count == 2
    assert not any(ref() for refs in alive for ref in refs)  # without the help of the collector of cycles


def test_saved_values_are_let_go(followed):
    w = torch.ones(10).requires_grad_()
    for _ in range(4):
        h = w.exp()
        node = weakref.ref(h._storage.node)
        z = (h * w).sum()
        z.item()
        del h
        assert node() is not None
        z.backward()
        w.grad.tolist()
        assert node() is None
        w.grad = None
    assert followed.count == 2


def test_long_traces_run(followed, monkeypatch):
    monkeypatch.setattr(config, "max_pending_nodes", 12)
    w = leaf(1.0, 2.0)
    for k in range(1, 8):
        (w.exp() * w).sum().backward()
        assert len(engine.trace) < 12
        np.testing.assert_allclose(w.grad.tolist(), k * np.exp([1.0, 2.0]) * [2.0, 3.0], rtol=1e-5)
    assert followed.count


def test_threads(followed):
    expected = 2 * np.exp(2.0)
    failed = []

    def work() -> None:
        for _ in range(20):
            w = leaf(1.0)
            (w * 2).exp().sum().backward()
            if not np.isclose(w.grad.item(), expected):
                failed.append(w.grad)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed and followed.count


def chain(w: torch.Tensor, depth: int) -> torch.Tensor:
    h = w * 1
    for _ in range(depth):
        h = (h * w).tanh()
    return h.sum()


def test_passes_of_many_lengths_from_like_losses_are_all_followed(followed):
    w, depths = leaf(0.5, -0.25), range(1, 25)
    for depth in [*depths] * 3:
        chain(w, depth).backward()
    start = followed.count
    for depth in [*depths, *reversed(depths)]:
        w.grad = None
        chain(w, depth).backward()
        got = w.grad
        (expected,) = torch.autograd.grad(chain(w, depth), w)
        assert torch.equal(got, expected)
    assert followed.since(start) == 2 * len(depths)
    functions = max(repetition._followers.values(), key=len)  # the shortest chains begin otherwise
    assert len(depths) - repetition.DEPTH <= len(functions) <= repetition.MAX_FOLLOWERS


def test_a_pass_is_followed_whatever_else_has_been_put_on_the_tape(followed):
    w = leaf(0.5, -0.25)
    warm(followed, lambda: chain(w, 3), [w])
    start = followed.count
    for others in (1, 5, 2):
        kept = [w * k for k in range(others)]
        chain(w, 3).backward()
        del kept
    assert followed.since(start) == 3


def test_the_passes_that_have_not_been_met_for_long_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(repetition, "MAX_PASSES", 4)
    w = leaf(0.5, -0.25)
    for depth in (1, 2, 3, 1, 4, 5, 1, 6, 7, 8):
        torch.autograd.grad(chain(w, depth), w)
        assert len(repetition._passes) <= 4
    kept = [*repetition._passes]
    torch.autograd.grad(chain(w, 1), w)
    assert [*repetition._passes] == [key for key in kept if key is not kept[0]] + [kept[0]]
