"""Single steps of optimizers as functions: signatures and results are PyTorch's."""

from __future__ import annotations

import importlib
import inspect

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

OPTIONS = {
    "lr": 0.1, "rho": 0.9, "eps": 1e-3, "weight_decay": 0.1, "maximize": True, "lr_decay": 0.1, "amsgrad": True, "beta1": 0.8, "beta2": 0.9, "lambd": 1e-2, "t0": 1.0,
    "alpha": 0.75, "momentum_decay": 0.1, "momentum": 0.9, "centered": True, "step_size_min": 1e-4, "step_size_max": 5.0, "etaminus": 0.5, "etaplus": 1.2, "dampening": 0.1,
    "nesterov": False, "d": 1.0, "beta2_decay": -0.8, "eps1": 1e-6, "eps2": 1e-3, "ns_coefficients": (3.4445, -4.775, 2.0315), "ns_steps": 3, "adjust_lr_fn": "original",
    "has_complex": False,
}  # fmt: skip
NUMBERS = {"state_steps": 0.0, "mus": 1.0, "etas": 0.1, "mu_products": 1.0}
NAMES = "adadelta adagrad adam adamax adamw asgd nadam radam rmsprop rprop sgd _adafactor _muon".split()
SHAPES = ((3, 2), (2, 4))


def function(lib, name: str):
    module = name if lib is torch else name.lstrip("_")
    return getattr(importlib.import_module(f"{lib.__name__}.optim.{module}"), name.lstrip("_"))


def _list(lib, name: str):
    if name in NUMBERS:
        return [lib.tensor(NUMBERS[name]) for _ in SHAPES]
    if name == "row_vars":
        return [lib.zeros(rows, 1) for rows, _ in SHAPES]
    if name == "col_vars":
        return [lib.zeros(1, columns) for _, columns in SHAPES]
    if name == "variances":
        return [None for _ in SHAPES]
    return [lib.full(shape, 0.1 if name == "step_sizes" else 0.0) for shape in SHAPES]


def steps(lib, name: str, settings: dict):
    step = function(lib, name)
    names = [n for n, p in inspect.signature(step).parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    options = {
        n: OPTIONS[n] for n, p in inspect.signature(step).parameters.items() if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    }
    lists = [_list(lib, n) for n in names[2:]]
    if name == "sgd":
        lists = [[None for _ in SHAPES]]
    params = [lib.arange(6.0).reshape(3, 2) - 2, lib.linspace(-1, 1, 8).reshape(2, 4)]
    for k in range(3):
        grads = [(p * 0.3 + k - 1).clone() for p in params]
        step(params, grads, *lists, **options | settings)
    return [[x if x is None else x.tolist() for x in values] for values in (params, *lists)]


def close(x, y) -> bool:
    if isinstance(x, list):
        return len(x) == len(y) and all(map(close, x, y))
    return x == y or x == pytest.approx(y, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(function(lib, name)).parameters.values()]
        for lib in (flambeau, torch)
    )
    assert ours == theirs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [{}, {"maximize": False, "amsgrad": False, "centered": False, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False}],
)
def test_steps(name, change):
    settings = {n: v for n, v in change.items() if n in inspect.signature(function(torch, name)).parameters}
    assert close(steps(flambeau, name, settings), steps(torch, name, settings))


def scaled(lib, **settings):
    step, state = function(lib, "adam"), [lib.zeros(3), lib.zeros(3)]
    p, g, count = lib.ones(3), lib.full((3,), 2.0), lib.tensor(0.0)
    step(
        [p],
        [g],
        [state[0]],
        [state[1]],
        [],
        [count],
        amsgrad=False,
        beta1=0.9,
        beta2=0.99,
        lr=0.1,
        weight_decay=0.0,
        eps=1e-8,
        maximize=False,
        **settings,
    )
    return [x.tolist() for x in (p, g, *state, count)]


@pytest.mark.parametrize("found", [0.0, 1.0])
def test_scaled_gradients(found):
    def settings(lib):
        return {"grad_scale": lib.tensor(2.0), "found_inf": lib.tensor(found)}

    assert close(scaled(flambeau, fused=True, **settings(flambeau)), scaled(torch, fused=True, **settings(torch)))
    for lib in (flambeau, torch):
        with pytest.raises(AssertionError, match="Expected grad_scale and found_inf to be None"):
            scaled(lib, **settings(lib))


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_adam():
    def outcome(lib):
        step = importlib.import_module(f"{lib.__name__}.optim._functional").sparse_adam
        p, mean, squares = lib.ones(3, 2), lib.zeros(3, 2), lib.zeros(3, 2)
        grad = lib.sparse_coo_tensor(lib.tensor([[0, 2]]), lib.tensor([[1.0, 2.0], [3.0, 4.0]]), (3, 2))
        for n in (1, 2):
            step([p], [grad.coalesce()], [mean], [squares], [n], eps=1e-8, beta1=0.9, beta2=0.99, lr=0.1, maximize=False)
        return [x.tolist() for x in (p, mean, squares)]

    assert close(outcome(flambeau), outcome(torch))


def test_gradients_of_their_own_stay():
    step = function(flambeau, "sgd")
    p = flambeau.ones(2, requires_grad=True)
    p.grad = flambeau.full((2,), 7.0)
    with flambeau.no_grad():
        step([p], [flambeau.ones(2)], [None], weight_decay=0.0, momentum=0.0, lr=0.5, dampening=0.0, nesterov=False, maximize=False)
    assert p.tolist() == [0.5, 0.5] and p.grad.tolist() == [7.0, 7.0]
