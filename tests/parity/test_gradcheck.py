"""What ``gradcheck`` finds out beside PyTorch, setting by setting."""

from __future__ import annotations

import pytest

import flambeau

torch = pytest.importorskip("torch")


def function(t, backward, several=False):
    class Own(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(not several)
            return (x * 2, x * 3) if several else x * 2

        @staticmethod
        def backward(ctx, *gs):
            return backward(*gs)

    return Own.apply


def total(a, b, by):
    """The gradient of ``(by x, 3 x)``, of whose outputs either may have none."""
    return None if a is b is None else b * 3 if a is None else a * by if b is None else a * by + b * 3


FUNCTIONS = {
    "right": lambda t: lambda x: x.sin() * x,
    "several": lambda t: lambda x: (x * 2, x.exp().sum()),
    "constant": lambda t: lambda x: x * 2,
    "own": lambda t: function(t, lambda g: g * 2),
    "own of several": lambda t: function(t, lambda a, b: total(a, b, 2), True),
    "wrong": lambda t: function(t, lambda g: g * 3),
    "that looks at values": lambda t: function(t, lambda g: g * (2 if g.sum().item() < 1e9 else 0)),
}
SETTINGS = [
    {}, {"fast_mode": True}, {"check_undefined_grad": False}, {"check_grad_dtypes": True}, {"check_batched_grad": True},
    {"check_batched_grad": True, "fast_mode": True}, {"check_backward_ad": False}, {"check_batched_forward_grad": True},
    {"check_backward_ad": False, "check_forward_ad": True, "check_batched_grad": True}, {"masked": True},
]  # fmt: skip


def outcome(t, name, check, settings):
    x = t.linspace(0.5, 1.5, 3, dtype=t.float64).requires_grad_()
    outcomes = []
    for raises in (True, False):
        try:
            outcomes.append(getattr(t.autograd, check)(FUNCTIONS[name](t), (x,), raise_exception=raises, **settings))
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            outcomes.append(type(error).__name__)
    return outcomes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_settings(name, settings):
    wanted, got = [outcome(t, name, "gradcheck", settings) for t in (torch, flambeau)]
    assert got == wanted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", [s for s in SETTINGS if not {"check_backward_ad", "check_batched_forward_grad"} & set(s)], ids=str)
@pytest.mark.parametrize("name", ["right", "several", "constant"])
def test_settings_of_second_derivatives(name, settings):
    wanted, got = [outcome(t, name, "gradgradcheck", settings) for t in (torch, flambeau)]
    assert got == wanted


def test_batched_tangents_are_refused():
    x = flambeau.rand(2, dtype=flambeau.float64).requires_grad_()
    with pytest.raises(NotImplementedError, match="check_batched_forward_grad"):
        flambeau.autograd.gradcheck(flambeau.sin, (x,), check_forward_ad=True, check_batched_forward_grad=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["right", "several"])
def test_second_derivatives_forward_over_reverse(name):
    def outcome(t):
        x = t.linspace(0.5, 1.5, 3, dtype=t.float64).requires_grad_()
        return t.autograd.gradgradcheck(FUNCTIONS[name](t), (x,), check_fwd_over_rev=True)

    assert outcome(flambeau) is outcome(torch) is True
