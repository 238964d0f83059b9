"""Inference mode beside PyTorch: which tensors are inference tensors, and what those are not for."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

MADE = {
    "ones": lambda t, n, p, x: t.ones(2),
    "tensor": lambda t, n, p, x: t.tensor([1.0]),
    "rand": lambda t, n, p, x: t.rand(2),
    "empty": lambda t, n, p, x: t.empty(2),
    "from_numpy": lambda t, n, p, x: t.from_numpy(np.ones(2)),
    "zeros_like": lambda t, n, p, x: t.zeros_like(p),
    "parameter": lambda t, n, p, x: t.nn.Parameter(t.ones(2)),
    "layer's": lambda t, n, p, x: t.nn.Linear(2, 2).weight,
    "that requires grad": lambda t, n, p, x: t.ones(2, requires_grad=True),
    "of that": lambda t, n, p, x: t.ones(2, requires_grad=True) * 2,
    "elementwise": lambda t, n, p, x: p * 2,
    "of numbers and tensors": lambda t, n, p, x: n + x,
    "reduced": lambda t, n, p, x: n.sum(0),
    "product": lambda t, n, p, x: n @ p,
    "layer": lambda t, n, p, x: t.nn.functional.linear(n, p),
    "LSTM": lambda t, n, p, x: t.nn.LSTM(2, 2)(n[None])[0],
    "einsum": lambda t, n, p, x: t.einsum("ij,jk", n, n),
    "softmax": lambda t, n, p, x: n.softmax(0),
    "several": lambda t, n, p, x: n.topk(1).values,
    "mask": lambda t, n, p, x: n > 0,
    "copy": lambda t, n, p, x: n.clone(),
    "deepcopy": lambda t, n, p, x: copy.deepcopy(n),
    "picked": lambda t, n, p, x: n[[0]],
    "out": lambda t, n, p, x: t.add(n, n, out=t.empty(0)),
    "out into another": lambda t, n, p, x: t.add(n, n, out=n),
    "under no_grad": lambda t, n, p, x: t.no_grad()(lambda: p * 2)(),
    "under enable_grad": lambda t, n, p, x: t.enable_grad()(lambda: p * 2)(),
    "by a Function": lambda t, n, p, x: double(t).apply(p),
    "view": lambda t, n, p, x: p.view(-1),
    "view of a view": lambda t, n, p, x: n.view(-1)[1:],
    "part": lambda t, n, p, x: n[0],
    "one of many": lambda t, n, p, x: n.unbind(0)[1],
    "detached": lambda t, n, p, x: p.detach(),
    "data": lambda t, n, p, x: p.data,
    "itself": lambda t, n, p, x: n.contiguous(),
    "written": lambda t, n, p, x: n.mul_(2),
    "view of it": lambda t, n, p, x: x.view(-1),
    "part of it": lambda t, n, p, x: x[0],
    "one of its rows": lambda t, n, p, x: x.unbind(0)[1],
    "it detached": lambda t, n, p, x: x.detach(),
    "it written": lambda t, n, p, x: x.mul_(2),
}
USED = {
    "x * 2": lambda t, n, p, x: x * 2,
    "x * p": lambda t, n, p, x: x * p,
    "p * x": lambda t, n, p, x: p * x,
    "x + p": lambda t, n, p, x: x + p,
    "x @ p": lambda t, n, p, x: x @ p,
    "p @ x": lambda t, n, p, x: p @ x,
    "cat": lambda t, n, p, x: t.cat([x, p]),
    "where": lambda t, n, p, x: t.where(n > 0, p, x),
    "einsum": lambda t, n, p, x: t.einsum("ij,jk", x, p),
    "linear": lambda t, n, p, x: t.nn.functional.linear(x, p),
    "mse_loss": lambda t, n, p, x: t.nn.functional.mse_loss(p, x),
    "a loss": lambda t, n, p, x: (x * p).sum().backward(),
    "relu": lambda t, n, p, x: t.relu(x + p),
    "a view's product": lambda t, n, p, x: x.view(-1) * p.view(-1),
    "by a Function": lambda t, n, p, x: double(t).apply(p * 1 + x),
    "saved by a Function": lambda t, n, p, x: scaled(t).apply(p, x),
    "mul_": lambda t, n, p, x: x.mul_(2),
    "mul_ of a view": lambda t, n, p, x: x.view(-1).mul_(2),
    "mul_ of a part": lambda t, n, p, x: x[0].mul_(2),
    "mul_ of a row": lambda t, n, p, x: x.unbind(0)[0].mul_(2),
    "mul_ under no_grad": lambda t, n, p, x: t.no_grad()(lambda: x.mul_(2))(),
    "+=": lambda t, n, p, x: x.__iadd__(1),
    "x[0] =": lambda t, n, p, x: x.__setitem__(0, 1.0),
    "copy_": lambda t, n, p, x: x.copy_(n),
    "zero_": lambda t, n, p, x: x.zero_(),
    "normal_": lambda t, n, p, x: x.normal_(),
    "masked_fill_": lambda t, n, p, x: x.masked_fill_(x > 0, 1.0),
    "out=": lambda t, n, p, x: t.add(n, n, out=x),
    "resize_": lambda t, n, p, x: x.resize_(4),
    "t_": lambda t, n, p, x: x.t_(),
    "unsqueeze_": lambda t, n, p, x: x.unsqueeze_(0),
    "set_": lambda t, n, p, x: x.set_(n),
    "detach_": lambda t, n, p, x: x.detach_(),
    "from x": lambda t, n, p, x: n.copy_(x),
    "mul_ by x": lambda t, n, p, x: n.mul_(x),
    "mul_ by x on the tape": lambda t, n, p, x: (p * 1).mul_(x),
    "add_ x on the tape": lambda t, n, p, x: (p * 1).add_(x),
    "requires_grad_": lambda t, n, p, x: x.requires_grad_(),
    "requires_grad_(False)": lambda t, n, p, x: x.requires_grad_(False),
    "Parameter": lambda t, n, p, x: t.nn.Parameter(x),
    "version": lambda t, n, p, x: x._version,
    "numpy": lambda t, n, p, x: x.numpy().tolist(),
    "clone": lambda t, n, p, x: x.clone().requires_grad_() * 2,
    "pickle": lambda t, n, p, x: t.tensor(pickle.loads(pickle.dumps(x.numpy()))),
    "deepcopy": lambda t, n, p, x: copy.deepcopy(x),
    "view": lambda t, n, p, x: x.t(),
    "detached": lambda t, n, p, x: x.detach(),
    "backward": lambda t, n, p, x: x.sum().backward(),
    "retain_grad": lambda t, n, p, x: x.retain_grad(),
}


def double(t):
    class Double(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    return Double


def scaled(t):
    class Scaled(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, by):
            ctx.save_for_backward(by)
            return x * by

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0], None

    return Scaled


def seen(t, result):
    if not isinstance(result, t.Tensor):
        return result
    fn = None if result.grad_fn is None else result.grad_fn.name()
    return result.is_inference(), t.is_inference(result), result.requires_grad, result.is_leaf, result._is_view(), fn


def given(t):
    with t.inference_mode():
        x = t.arange(4.0).view(2, 2) * 1
    return t.ones(2, 2), t.ones(2, 2, requires_grad=True), x


def outcome(t, function):
    try:
        return seen(t, function(t, *given(t)))
    except RuntimeError as error:
        return str(error)[:60]


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_in_it(name):
    for _ in range(3):  # calls that repeat go another way
        wanted, got = [t.inference_mode()(outcome)(t, MADE[name]) for t in (torch, flambeau)]
        assert got == wanted


@pytest.mark.parametrize("name", USED)
def test_what_its_tensors_are_for(name):
    for _ in range(3):
        wanted, got = [outcome(t, USED[name]) for t in (torch, flambeau)]
        assert got == wanted


@pytest.mark.parametrize(
    "name", [name for name in USED if name not in ("a loss", "backward", "retain_grad", "saved by a Function")]
)
def test_the_same_inside(name):
    for _ in range(3):
        wanted, got = [t.inference_mode()(outcome)(t, USED[name]) for t in (torch, flambeau)]
        assert got == wanted


@pytest.mark.parametrize("name", USED)
def test_calls_like_those_of_other_tensors(name):
    """What calls on tensors of another kind have left behind does not serve for these."""
    function = USED[name]

    def normal():
        n, p, x = given(flambeau)
        try:
            return seen(flambeau, function(flambeau, n, p, x.clone()))
        except RuntimeError as error:
            return str(error)[:60]

    before = [normal() for _ in range(3)]
    within = [outcome(flambeau, function) for _ in range(3)]
    assert [normal() for _ in range(3)] == before
    assert [outcome(flambeau, function) for _ in range(3)] == within == [outcome(torch, function)] * 3


SWITCHES = [
    "no_grad()",
    "enable_grad()",
    "inference_mode()",
    "inference_mode(False)",
    "set_grad_enabled(True)",
    "set_grad_enabled(False)",
]


@pytest.mark.parametrize("outer", SWITCHES)
@pytest.mark.parametrize("inner", SWITCHES)
def test_nested_modes(outer, inner):
    logs = []
    for t in (torch, flambeau):
        log = []

        def note(t=t, log=log):
            r = t.ones(2, requires_grad=True) * 2
            log.append((t.is_grad_enabled(), t.is_inference_mode_enabled(), r.requires_grad, r.is_inference()))

        with eval("t." + outer, {"t": t}):
            note()
            with eval("t." + inner, {"t": t}):
                note()
                eval("t." + outer, {"t": t}).__class__.__call__(eval("t." + outer, {"t": t}), note)()
                note()
            note()
        note()
        logs.append(log)
    assert logs[1] == logs[0]


def test_views_of_others():
    for kind in ("write to the view", "write to the base", "write inside", "t_", "base t_"):
        outcomes = []
        for t in (torch, flambeau):
            for requires_grad in (False, True):
                a = t.ones(2, 2, requires_grad=requires_grad).clone()
                with t.inference_mode():
                    v = a.view(-1) if kind != "t_" else a.view_as(a)
                    if kind == "write inside":
                        v.add_(1)
                try:
                    {"write to the view": v.add_, "write to the base": a.add_}.get(kind, lambda _: None)(1)
                    {"t_": v.t_, "base t_": a.t_}.get(kind, lambda: None)()
                    outcome = kind == "write inside" or None if v.grad_fn is None or kind == "write inside" else v.grad_fn.name()
                except RuntimeError as error:
                    outcome = str(error)[:70] if kind != "write inside" else True
                outcomes.append((outcome, a.tolist()))
        half = len(outcomes) // 2
        assert outcomes[half:] == outcomes[:half], kind


def test_training_goes_on_after_it():
    losses = []
    for t in (torch, flambeau):
        t.manual_seed(0)
        net = t.nn.Sequential(t.nn.Linear(4, 8), t.nn.BatchNorm1d(8), t.nn.ReLU(), t.nn.Linear(8, 1))
        optimizer = t.optim.SGD(net.parameters(), 0.05)
        log = []
        for step in range(6):
            x = t.arange(20.0).view(5, 4).sin() * (step + 1)
            loss = (net.train()(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with t.inference_mode():
                y = net.eval()(x)
                log += [loss.item(), y.sum().item(), y.is_inference(), y[0].is_inference()]
        losses.append(log)
    assert losses[1] == pytest.approx(losses[0], rel=2e-4)
