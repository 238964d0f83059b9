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
@pytest.mark.parametrize(
    "settings", [s for s in SETTINGS if not {"check_backward_ad", "check_batched_forward_grad"} & set(s)], ids=str
)
@pytest.mark.parametrize("name", ["right", "several", "constant"])
def test_settings_of_second_derivatives(name, settings):
    wanted, got = [outcome(t, name, "gradgradcheck", settings) for t in (torch, flambeau)]
    assert got == wanted


def checked(t, check, *args, **settings):
    try:
        return getattr(t.autograd, check)(*args, **settings)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        return type(error).__name__, str(error)[:60].replace(",", "")


def batched_tangents(t, name):
    functions = {"several": lambda x: (x.clone(), x + 1), "sum": lambda x: (x * x).sum(), "unused": lambda x, y: x.clone()}
    x = t.linspace(0.5, 1.5, 3, dtype=t.float64).requires_grad_()
    inputs = (x, x.detach().clone().requires_grad_()) if name == "unused" else (x,)
    settings = {
        "check_batched_forward_grad": True,
        "check_forward_ad": True,
        "check_backward_ad": False,
        "check_undefined_grad": False,
    }
    return checked(t, "gradcheck", functions[name], inputs, check_batched_grad=False, **settings)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["several", "sum", "unused"])
def test_batched_tangents(name):
    assert batched_tangents(flambeau, name) is batched_tangents(torch, name) is True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("form", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_sparse_inputs(form, fast):
    def told(t):
        def made(rows=2):
            x = getattr(t.linspace(0.5, 2.0, 2 * rows, dtype=t.float64).reshape(rows, 2), form)()
            return x.requires_grad_()

        dense = t.linspace(1.0, 2.0, 4, dtype=t.float64).reshape(2, 2).requires_grad_()
        settings = {"fast_mode": fast, "check_batched_grad": False, "masked": True}
        found = [
            checked(t, "gradcheck", t.sum, (made(),), **settings),
            checked(t, "gradcheck", lambda x: x.to_dense(), (made(),), **settings),
        ]
        if form == "to_sparse":
            found.append(checked(t, "gradcheck", lambda x, y: x * y.coalesce().to_dense(), (dense, made()), **settings))
        found.append(checked(t, "gradcheck", lambda x: x * 2, (made(),), **settings))
        return found

    assert told(flambeau) == told(torch)


@pytest.mark.filterwarnings("ignore")
def test_gradients_of_sparse_inputs_in_batches():
    """There are none. A sparse tensor that is made under ``vmap`` leaves everything as it was."""

    def told(t):
        x = t.linspace(0.5, 2.0, 4, dtype=t.float64).reshape(2, 2).to_sparse().requires_grad_()
        found = checked(t, "gradcheck", lambda x: x.to_dense(), (x,), masked=True, check_batched_grad=True)
        return found, (t.ones(2) + 1).tolist(), t.vmap(lambda a: a * 2)(t.ones(2)).tolist()

    ours, theirs = told(flambeau), told(torch)
    assert ours[0][0] == theirs[0][0] == "GradcheckError" and ours[1:] == theirs[1:] and (flambeau.ones(1) * 2).tolist() == [2.0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["not on the tape", "no outputs", "constant", "integers"])
def test_outputs_without_gradients(name):
    functions = {
        "not on the tape": lambda t: lambda x: x.detach() * 2,
        "no outputs": lambda t: lambda x: (),
        "constant": lambda t: lambda x: t.ones(2),
        "integers": lambda t: lambda x: x.detach().long(),
    }

    def told(t):
        x = t.ones(1, dtype=t.float64).requires_grad_()
        return checked(t, "gradcheck", functions[name](t), (x,)), checked(
            t, "gradcheck", functions[name](t), (x,), raise_exception=False
        )

    assert told(flambeau) == told(torch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["complex to complex", "real to complex", "complex to real"])
def test_which_part_of_complex_outputs_is_wrong(name):
    def told(t):
        def wrong(x):
            y = {
                "complex to complex": lambda: x.clone(),
                "real to complex": lambda: t.complex(x, x),
                "complex to real": lambda: t.real(x),
            }[name]()
            y.register_hook(lambda g: g + 1e-2)
            return y

        x = t.ones(2, dtype=t.float64 if name.startswith("real") else t.complex128).requires_grad_()
        return checked(t, "gradcheck", wrong, (x,))

    assert told(flambeau) == told(torch)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["right", "several"])
def test_second_derivatives_forward_over_reverse(name):
    def outcome(t):
        x = t.linspace(0.5, 1.5, 3, dtype=t.float64).requires_grad_()
        return t.autograd.gradgradcheck(FUNCTIONS[name](t), (x,), check_fwd_over_rev=True)

    assert outcome(flambeau) is outcome(torch) is True
