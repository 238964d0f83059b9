"""Optimizers against their formulas in NumPy, and what surrounds the update: groups, state, hooks, errors."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)

STEPS = 50
SHAPES = [(4, 3), (5,), (), (2, 3, 2)]


# ------------------------------------------------------------------ formulas, in float64
# Each takes the parameter p, its gradient g, a dict s that starts empty, the step t = 1, 2, ...
# and the options, and returns the new parameter.


def sgd(p, g, s, t, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    g = g + weight_decay * p
    if momentum:
        b = s["b"] = momentum * s["b"] + (1 - dampening) * g if "b" in s else g
        g = g + momentum * b if nesterov else b
    return p - lr * g


def adagrad(p, g, s, t, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10):
    g = g + weight_decay * p
    s["sum"] = s.get("sum", initial_accumulator_value) + g**2
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def adadelta(p, g, s, t, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0):
    g = g + weight_decay * p
    v = s["v"] = rho * s.get("v", 0) + (1 - rho) * g**2
    d = np.sqrt(s.get("u", 0) + eps) / np.sqrt(v + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * d**2
    return p - lr * d


def rmsprop(p, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False):
    g = g + weight_decay * p
    v = s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
    if centered:
        s["a"] = alpha * s.get("a", 0) + (1 - alpha) * g
        v = v - s["a"] ** 2
    step = g / (np.sqrt(v) + eps)
    if momentum:
        step = s["b"] = momentum * s.get("b", 0) + step
    return p - lr * step


def adam(
    p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False,
    decoupled_weight_decay=False,
):  # fmt: skip
    if decoupled_weight_decay:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m = s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    v = s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    if amsgrad:
        v = s["max"] = np.maximum(s.get("max", 0), v)
    return p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def adamw(p, g, s, t, weight_decay=1e-2, **options):
    return adam(p, g, s, t, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


def adamax(p, g, s, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
    g = g + weight_decay * p
    m = s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    u = s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return p - lr / (1 - betas[0] ** t) * m / u


def nadam(
    p, g, s, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
    decoupled_weight_decay=False,
):  # fmt: skip
    if decoupled_weight_decay:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    product = s["M"] = s.get("M", 1) * mu
    m = s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    v = s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    d = np.sqrt(v / (1 - betas[1] ** t)) + eps
    return p - lr * ((1 - mu) / (1 - product) * g + mu_next / (1 - product * mu_next) * m) / d


def radam(p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False):
    if decoupled_weight_decay:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m = s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    v = s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g**2
    c, rest = m / (1 - betas[0] ** t), 1 - betas[1] ** t
    R = 2 / (1 - betas[1]) - 1
    r = R - 2 * t * betas[1] ** t / rest
    if r > 5:
        f = math.sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r))
        return p - lr * f * math.sqrt(rest) * c / (np.sqrt(v) + eps)
    return p - lr * c


def rprop(p, g, s, t, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    agree = np.sign(g * s.get("g", 0 * g))
    factor = np.where(agree > 0, etas[1], np.where(agree < 0, etas[0], 1))
    s["size"] = np.clip(s.get("size", lr) * factor, *step_sizes)
    g = s["g"] = np.where(agree < 0, 0, g)
    return p - s["size"] * np.sign(g)


def asgd(p, g, s, t, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0):
    g = g + weight_decay * p
    eta = s.get("eta", lr)
    s["eta"] = lr / (1 + lambd * lr * t) ** alpha
    return p * (1 - lambd * eta) - eta * g


def adafactor(p, g, s, t, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0):
    def rms(x):
        return np.sqrt(np.mean(x**2))

    eps1 = np.finfo(p.dtype).eps if eps[0] is None else eps[0]
    fresh = t**beta2_decay
    size = max(eps[1], rms(p)) * min(lr, 1 / math.sqrt(t))
    if p.ndim > 1:
        s["r"] = s.get("r", 0) + fresh * (np.mean(g**2, -1, keepdims=True) - s.get("r", 0))
        s["c"] = s.get("c", 0) + fresh * (np.mean(g**2, -2, keepdims=True) - s.get("c", 0))
        v = s["r"] @ s["c"] / np.maximum(np.mean(s["r"], -2, keepdims=True), eps1)
    else:
        v = s["v"] = s.get("v", 0) + fresh * (g**2 - s.get("v", 0))
    u = g / np.maximum(np.sqrt(v), eps1)
    return p * (1 - lr * weight_decay) - size * u / max(1, rms(u) / d)


CASES = [
    (sgd, "SGD", {}),
    (sgd, "SGD", {"lr": 0.1, "weight_decay": 0.1}),
    (sgd, "SGD", {"lr": 0.1, "momentum": 0.9}),
    (sgd, "SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (sgd, "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (adagrad, "Adagrad", {}),
    (adagrad, "Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    (adadelta, "Adadelta", {}),
    (adadelta, "Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1}),
    (rmsprop, "RMSprop", {}),
    (rmsprop, "RMSprop", {"alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1}),
    (rmsprop, "RMSprop", {"alpha": 0.9, "momentum": 0.8, "centered": True, "eps": 1e-3}),
    (adam, "Adam", {}),
    (adam, "Adam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3}),
    (adam, "Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (adam, "Adam", {"lr": 0.1, "amsgrad": True, "betas": (0.9, 0.8)}),
    (adamw, "AdamW", {}),
    (adamw, "AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    (adamax, "Adamax", {}),
    (adamax, "Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    (nadam, "NAdam", {}),
    (nadam, "NAdam", {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.1}),
    (nadam, "NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (radam, "RAdam", {}),
    (radam, "RAdam", {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.95)}),
    (radam, "RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (rprop, "Rprop", {}),
    (rprop, "Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2)}),
    (asgd, "ASGD", {}),
    (asgd, "ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "weight_decay": 0.1}),
    (adafactor, "Adafactor", {}),
    (adafactor, "Adafactor", {"lr": 0.1, "beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 1.5, "weight_decay": 0.1}),
]  # fmt: skip
NAMES = sorted({name for _, name, _ in CASES})


def numbers(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def parameters(arrays, dtype=torch.float64):
    return [torch.nn.Parameter(torch.tensor(a, dtype=dtype)) for a in arrays]


def set_grads(params, arrays):
    for p, a in zip(params, arrays, strict=True):
        p.grad = torch.tensor(a, dtype=p.dtype)


def values(params):
    return [p.detach().numpy().copy() for p in params]


def make(name, params, **options):
    if name == "LBFGS":
        options.setdefault("max_iter", 1)
    return getattr(torch.optim, name)(params, **options)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("formula, name, options", CASES)
def test_formula(formula, name, options, maximize):
    expected, states = numbers(0), [{} for _ in SHAPES]
    params = parameters(expected)
    memory = [p.data_ptr() for p in params]
    optimizer = make(name, params, maximize=maximize, **options)
    # mu_product and eta are kept in float32, as PyTorch keeps them
    rtol = 1e-6 if name in ("NAdam", "ASGD") else 1e-11
    for t in range(1, STEPS + 1):
        grads = numbers(t)
        set_grads(params, grads)
        optimizer.step()
        expected = [formula(p, -g if maximize else g, s, t, **options) for p, g, s in zip(expected, grads, states, strict=True)]
        for p, e in zip(values(params), expected, strict=True):
            np.testing.assert_allclose(p, e, rtol=rtol, atol=rtol)
    assert [p.data_ptr() for p in params] == memory


@pytest.mark.parametrize("formula, name, options", CASES)
def test_float32(formula, name, options):
    expected, states = numbers(0), [{} for _ in SHAPES]
    params = parameters(expected, torch.float32)
    optimizer = make(name, params, **options)
    if name == "Adafactor":  # its epsilon is that of the dtype
        options = {**options, "eps": (options.get("eps", (None, 1e-3))[0] or np.finfo(np.float32).eps,
                                      options.get("eps", (None, 1e-3))[1])}  # fmt: skip
    for t in range(1, STEPS + 1):
        grads = [g.astype(np.float32).astype(np.float64) for g in numbers(t)]
        set_grads(params, grads)
        optimizer.step()
        expected = [formula(p, g, s, t, **options) for p, g, s in zip(expected, grads, states, strict=True)]
    for p, e in zip(params, expected, strict=True):
        assert p.dtype is torch.float32
        np.testing.assert_allclose(p.detach().numpy(), e, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "Adafactor"])
def test_complex_parameters_are_pairs_of_real_ones(name):
    pairs = numbers(0, [(4, 2)])
    params = [torch.nn.Parameter(torch.view_as_complex(torch.tensor(pairs[0])))]
    real = parameters(pairs)
    optimizers = make(name, params), make(name, real)
    for t in range(1, 6):
        grads = numbers(t, [(4, 2)])
        params[0].grad = torch.view_as_complex(torch.tensor(grads[0]))
        set_grads(real, grads)
        for optimizer in optimizers:
            optimizer.step()
    got = torch.view_as_real(params[0].detach()).numpy()
    np.testing.assert_allclose(got, real[0].detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("options", [{"nesterov": False}, {"adjust_lr_fn": "match_rms_adamw"}])
@pytest.mark.parametrize("shape", [(6, 4), (3, 8)])
def test_muon_updates_are_nearly_orthogonal(shape, options):
    params = parameters(numbers(0, [shape]))
    before = params[0].detach().numpy().copy()
    set_grads(params, numbers(1, [shape]))
    make("Muon", params, lr=0.1, weight_decay=0.5, **options).step()
    if "adjust_lr_fn" in options:
        ratio = 0.2 * math.sqrt(max(shape))
    else:
        ratio = math.sqrt(max(1, shape[0] / shape[1]))
    update = (before * (1 - 0.1 * 0.5) - params[0].detach().numpy()) / (0.1 * ratio)
    singular = np.linalg.svd(update, compute_uv=False)
    assert 0.6 < singular.min() and singular.max() < 1.3  # the iteration aims at 1, in bfloat16


# ------------------------------------------------------------------ LBFGS


def quadratic(options, steps=1):
    w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    scale = torch.tensor([1.0, 3.0, 10.0, 30.0, 100.0], dtype=torch.float64)
    optimizer = torch.optim.LBFGS([w], **options)
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        assert torch.is_grad_enabled()
        optimizer.zero_grad()
        loss = (scale * (w - 1) ** 2).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(steps)]
    return w, losses, calls, optimizer


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum(search):
    w, losses, _, _ = quadratic({"line_search_fn": search, "max_iter": 60, "tolerance_change": 1e-15}, steps=3)
    assert losses[0] == 144.0
    np.testing.assert_allclose(w.detach().numpy(), np.ones(5), rtol=1e-6)


def test_lbfgs_limits():
    _, _, calls, optimizer = quadratic({"max_iter": 4})
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert calls == state["func_evals"] == 4
    assert state["n_iter"] == 4
    _, _, calls, optimizer = quadratic({"max_iter": 100, "max_eval": 7})
    assert calls == 7
    _, _, _, optimizer = quadratic({"history_size": 2, "max_iter": 6})
    (state,) = optimizer.state.values()
    assert len(state["old_dirs"]) == len(state["ro"]) == 2


def test_lbfgs_refusals():
    w = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="LBFGS doesn't support per-parameter options"):
        torch.optim.LBFGS([{"params": w}, {"params": torch.nn.Parameter(torch.ones(2))}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        quadratic({"line_search_fn": "armijo"})


# ------------------------------------------------------------------ groups, closures, gradients


def test_parameters_without_gradient_are_left_alone():
    a, b = parameters([np.ones(2), np.ones(3)])
    optimizer = torch.optim.Adam([a, b], lr=0.1)
    a.grad = torch.ones(2, dtype=torch.float64)
    optimizer.step()
    assert b.detach().tolist() == [1, 1, 1]
    assert set(optimizer.state) == {a}


def test_groups_have_their_own_options():
    a, b = parameters([np.ones(2), np.ones(2)])
    optimizer = torch.optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.25)
    set_grads([a, b], [np.ones(2), np.ones(2)])
    optimizer.step()
    assert (a.detach().tolist(), b.detach().tolist()) == ([0.75, 0.75], [0.5, 0.5])
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert a.detach().tolist() == [-0.25, -0.25]
    c = torch.nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": c, "lr": 2.0})
    assert optimizer.param_groups[2] == {
        "params": [c], "lr": 2.0, "momentum": 0, "dampening": 0, "weight_decay": 0,
        "nesterov": False, "maximize": False, "foreach": None, "differentiable": False,
        "fused": None,
    }  # fmt: skip


def test_closure():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 2.0
    assert w.tolist() == [0.0, 0.0]
    assert optimizer.step() is None


def test_zero_grad():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.5)
    (grad,) = torch.autograd.grad((w * w).sum(), w, create_graph=True)
    w.grad = grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is grad and grad.tolist() == [0, 0] and not grad.requires_grad
    optimizer.zero_grad()
    assert w.grad is None


def test_a_tensor_as_learning_rate_is_read_at_every_step():
    w = torch.nn.Parameter(torch.ones(1))
    lr = torch.tensor(0.5)
    optimizer = torch.optim.SGD([w], lr=lr)
    w.grad = torch.ones(1)
    optimizer.step()
    lr.fill_(0.25)
    optimizer.step()
    assert w.item() == 0.25


@pytest.mark.parametrize("name", [*NAMES, "LBFGS"])
def test_repr_names_all_options(name):
    optimizer = make(name, [torch.nn.Parameter(torch.ones(2, 2))])
    options = "".join(f"    {k}: {v}\n" for k, v in sorted(optimizer.defaults.items()))
    assert repr(optimizer) == f"{name} (\nParameter Group 0\n{options})"


def test_named_parameters():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="all optimizer params should be with/without names. Some"):
        torch.optim.SGD([("a", model.weight), model.bias], lr=0.1)
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    unnamed = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="cannot add param group with names"):
        unnamed.add_param_group({"params": [("c", torch.nn.Parameter(torch.ones(1)))]})


# ------------------------------------------------------------------ differentiable


def test_gradients_flow_through_a_step():
    lr = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    w0 = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    w = w0.clone()
    optimizer = torch.optim.SGD([w], lr=lr, differentiable=True)
    w.grad = 2 * w0
    optimizer.step()  # w = (1 - 2 lr) w0
    w.sum().backward()
    assert w0.grad.tolist() == [0.0, 0.0]
    assert lr.grad.item() == 2.0


@pytest.mark.parametrize(
    "name, options",
    [
        ("SGD", {"weight_decay": 0.1}),  # with momentum the first buffer is a constant, as in PyTorch
        ("Adagrad", {}),
        ("Adadelta", {"eps": 1e-2}),
        ("RMSprop", {"centered": True, "momentum": 0.5, "eps": 0.1}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("AdamW", {}),
        ("Adamax", {}),
        ("NAdam", {}),
        ("RAdam", {"betas": (0.9, 0.7)}),
        ("Rprop", {}),
        ("ASGD", {}),
    ],
)
def test_differentiable_steps_have_the_right_derivative(name, options):
    grads = [np.array([0.3, -0.7]), np.array([0.5, 0.4]), np.array([-0.2, 0.6])]

    def after(start, scale):
        """The parameter after three steps whose gradients are scale * w * constants."""
        w = start.clone()
        optimizer = make(name, [w], lr=0.1, differentiable=True, **options)
        for grad in grads:
            w.grad = scale * w * torch.tensor(grad)
            optimizer.step()
        return w.sum()

    start = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    after(start, scale).backward()
    h = 1e-6
    with torch.no_grad():
        for i in range(2):
            step = torch.zeros(2, dtype=torch.float64)
            step[i] = h
            slope = (after(start + step, scale) - after(start - step, scale)).item() / (2 * h)
            assert start.grad[i].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)
        slope = (after(start, scale + h) - after(start, scale - h)).item() / (2 * h)
        assert scale.grad.item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_learned_hyperparameters_of_adam():
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    given = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.3}

    def after(lr, beta1, beta2, weight_decay):
        w = start.clone().requires_grad_().clone()
        optimizer = torch.optim.Adam([w], lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, differentiable=True)
        for grad in ([0.3, -0.7], [0.5, 0.4]):
            w.grad = torch.tensor(grad, dtype=torch.float64)
            optimizer.step()
        return w.sum()

    tensors = {key: torch.tensor(value, dtype=torch.float64, requires_grad=True) for key, value in given.items()}
    after(**tensors).backward()
    for key in given:
        up, down = ({**given, key: given[key] + h} for h in (1e-6, -1e-6))
        slope = (after(**up) - after(**down)).item() / 2e-6
        assert tensors[key].grad.item() == pytest.approx(slope, rel=1e-5, abs=1e-6)


# ------------------------------------------------------------------ state dicts


def trained(name, steps=3, **options):
    shapes = [(3, 2), (4, 2)]
    params = parameters(numbers(0, shapes), torch.float32)
    optimizer = make(name, params, **options)
    for t in range(1, steps + 1):
        set_grads(params, numbers(t, shapes))
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("name", [*NAMES, "Muon"])
@pytest.mark.parametrize("through", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_resuming_gives_the_same_numbers(name, through):
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    params, optimizer = trained(name, **options)
    state = through(optimizer.state_dict())
    resumed = [torch.nn.Parameter(p.detach().clone()) for p in params]
    other = make(name, resumed)
    other.load_state_dict(state)
    for t in range(10, 13):
        for some, one in ((params, optimizer), (resumed, other)):
            set_grads(some, numbers(t, [(3, 2), (4, 2)]))
            one.step()
    for p, q in zip(values(params), values(resumed), strict=True):
        np.testing.assert_array_equal(p, q)
    assert repr(other.state_dict()) == repr(optimizer.state_dict())


def test_state_dict_format():
    params, optimizer = trained("Adam")
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert list(state["state"]) == [0, 1]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    step = state["state"][0]["step"]
    assert isinstance(step, torch.Tensor)
    assert (step.dtype, step.shape, step.item()) == (torch.float32, (), 3.0)
    group = state["param_groups"][0]
    assert group["params"] == [0, 1] and list(group)[-1] == "params"
    assert group["betas"] == (0.9, 0.999)
    assert torch.optim.SGD(params, lr=0.1).state_dict()["state"] == {}


def test_loading_casts_state_but_not_the_step_count():
    params, optimizer = trained("Adam")
    wide = [torch.nn.Parameter(p.detach().double()) for p in params]
    other = torch.optim.Adam(wide)
    other.load_state_dict(optimizer.state_dict())
    entry = other.state[wide[0]]
    assert entry["exp_avg"].dtype is torch.float64
    assert entry["step"].dtype is torch.float32
    other = torch.optim.Adam(wide, fused=True)
    state = optimizer.state_dict()
    state["state"][0]["step"] = torch.tensor(3.0, dtype=torch.float64)
    state["param_groups"][0]["fused"] = True
    other.load_state_dict(state)
    assert other.state[wide[0]]["step"].dtype is torch.float32


def test_old_checkpoints_get_the_missing_options_and_tensor_steps():
    params, optimizer = trained("Adam")
    state = optimizer.state_dict()
    for entry in state["state"].values():
        entry["step"] = 3
    for key in ("amsgrad", "maximize", "foreach", "fused", "decoupled_weight_decay"):
        del state["param_groups"][0][key]
    other = torch.optim.Adam(params)
    other.load_state_dict(state)
    assert other.param_groups[0]["amsgrad"] is False
    other.step()
    assert other.state[params[0]]["step"].item() == 4.0


def test_an_adam_checkpoint_loads_as_adamw():
    params, optimizer = trained("Adam")
    other = torch.optim.AdamW(params)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["decoupled_weight_decay"] is True


@pytest.mark.parametrize("replace", [False, True])
def test_an_edited_step_count_is_used(replace):
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([w], lr=0.1, betas=(0.5, 0.5), eps=0.0)
    w.grad = torch.ones(1, dtype=torch.float64)
    optimizer.step()
    if replace:
        optimizer.state[w]["step"] = torch.tensor(9.0)
    else:
        optimizer.state[w]["step"].fill_(9.0)
    before = w.item()
    optimizer.step()  # both averages are 3/4 now, and are divided by 1 - 0.5 ** 10
    assert optimizer.state[w]["step"].item() == 10.0
    correction = 1 - 0.5**10
    assert before - w.item() == pytest.approx(0.1 * (0.75 / correction) / math.sqrt(0.75 / correction))


def test_a_copy_of_a_step_count_keeps_its_value():
    w = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([w])
    w.grad = torch.ones(1)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    kept = optimizer.state[w]["step"].clone()
    optimizer.step()
    assert kept.item() == saved["state"][0]["step"].item() == 1.0
    assert optimizer.state[w]["step"].item() == 2.0


def test_step_counts_follow_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        _, optimizer = trained("Adam")
        _, fused = trained("Adam", fused=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.state_dict()["state"][0]["step"].dtype is torch.float64
    assert fused.state_dict()["state"][0]["step"].dtype is torch.float32


def test_mismatched_checkpoints_are_refused():
    a, b = parameters([np.ones(2), np.ones(3)])
    optimizer = torch.optim.SGD([a], lr=0.1)
    two_groups = torch.optim.SGD([{"params": a}, {"params": b}], lr=0.1)
    with pytest.raises(ValueError, match="different number of parameter groups: expected 1, got 2"):
        optimizer.load_state_dict(two_groups.state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        optimizer.load_state_dict(torch.optim.SGD([a, b], lr=0.1).state_dict())


def test_pickling_and_copying_optimizers():
    params, optimizer = trained("Adam")
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert repr(twin) == repr(optimizer)
        mine = twin.param_groups[0]["params"]
        assert mine[0] is not params[0]
        set_grads(mine, numbers(9, [(3, 2), (4, 2)]))
        twin.step()
        assert twin.state[mine[0]]["step"].item() == 4.0
    assert optimizer.state[params[0]]["step"].item() == 3.0


# ------------------------------------------------------------------ hooks and subclasses


def test_step_hooks():
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([w], lr=0.1)
    log = []
    handles = [
        register_optimizer_step_post_hook(lambda o, a, k: log.append("global post")),
        register_optimizer_step_pre_hook(lambda o, a, k: log.append("global pre")),
        optimizer.register_step_post_hook(lambda o, a, k: log.append("post")),
        optimizer.register_step_pre_hook(lambda o, a, k: log.append((o is optimizer, len(a)))),
    ]
    optimizer.step()
    assert log == ["global pre", (True, 1), "post", "global post"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(log) == 4
    optimizer.register_step_pre_hook(lambda o, args, kwargs: (args, {"closure": lambda: 7}))
    assert optimizer.step() == 7
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 7)
    with pytest.raises(RuntimeError, match="must return None or a tuple of"):
        optimizer.step()


def test_hooks_run_once_for_a_step_that_calls_super():
    class Counting(torch.optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    log = []
    optimizer = Counting([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: log.append("pre"))
    optimizer.step()
    assert log == ["pre"]


def test_state_dict_hooks():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    log = []
    optimizer.register_state_dict_pre_hook(lambda o: log.append("before"))
    optimizer.register_state_dict_post_hook(lambda o, s: log.append("after"))
    optimizer.register_state_dict_post_hook(lambda o, s: {**s, "extra": 1}, prepend=True)
    optimizer.register_load_state_dict_pre_hook(lambda o, s: log.append("extra" in s))
    optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded"))
    optimizer.load_state_dict(optimizer.state_dict())
    assert log == ["before", "after", True, "loaded"]


def test_an_optimizer_of_the_users_own():
    class Signs(torch.optim.Optimizer):
        def __init__(self, params, lr=required):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    w = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        Signs([w])
    optimizer = Signs([w], lr=0.25)
    log = []
    optimizer.register_step_post_hook(lambda *_: log.append("post"))
    w.grad = torch.tensor([3.0, -4.0])
    optimizer.step()
    assert w.tolist() == [0.75, 1.25] and log == ["post"]
    with pytest.raises(NotImplementedError):
        torch.optim.Optimizer([w], {}).step()


def test_an_optimizer_that_wraps_another_needs_no_super_init():
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner = inner
            self.param_groups = inner.param_groups

        def step(self, closure=None):
            return self.inner.step(closure)

    w = torch.nn.Parameter(torch.ones(1))
    w.grad = torch.ones(1)
    Wrapper(torch.optim.SGD([w], lr=0.5)).step()
    assert w.item() == 0.5


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SGD", {"lr": -1}, "Invalid learning rate: -1"),
        ("SGD", {"momentum": -0.5}, "Invalid momentum value: -0.5"),
        ("SGD", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
        ("Adagrad", {"lr_decay": -0.5}, "Invalid lr_decay value: -0.5"),
        ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value: -1"),
        ("Adadelta", {"rho": 1.1}, "Invalid rho value: 1.1"),
        ("RMSprop", {"alpha": -1}, "Invalid alpha value: -1"),
        ("RMSprop", {"eps": -1}, "Invalid epsilon value: -1"),
        ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("Adam", {"betas": (0.9, 1.0)}, "Invalid beta parameter at index 1: 1.0"),
        ("Adam", {"betas": (0, 0.9)}, "betas must be either both floats or both Tensors"),
        ("AdamW", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ("Adamax", {"betas": (0.0, 1.0)}, "Invalid beta parameter at index 1: 1.0"),
        ("NAdam", {"momentum_decay": -0.2}, "Invalid momentum_decay value: -0.2"),
        ("RAdam", {"eps": -1}, "Invalid epsilon value: -1"),
        ("Rprop", {"etas": (1.0, 0.5)}, "Invalid eta values: 1.0, 0.5"),
        ("ASGD", {"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
        ("LBFGS", {"lr": -1}, "Invalid learning rate: -1"),
        ("Adafactor", {"lr": -1}, "Learning rate should be >= 0 but is: -1"),
        ("Adafactor", {"beta2_decay": 0.8}, "beta2_decay should be <= 0 but is: 0.8"),
        ("Adafactor", {"eps": (-1e-30, 1e-3)}, "epsilon1 should be >= 0 but is: -1e-30"),
        ("Adafactor", {"d": 0.0}, "Clipping threshold d should be >= 1 but is: 0.0"),
        ("Muon", {"adjust_lr_fn": "x"}, "Adjust learning rate function x is not supported"),
    ],
)  # fmt: skip
def test_invalid_options(name, options, message):
    with pytest.raises(ValueError) as caught:
        make(name, [torch.nn.Parameter(torch.ones(2, 2))], **options)
    assert str(caught.value).startswith(message)


def test_tensor_options_must_have_one_element():
    w = torch.nn.Parameter(torch.ones(2))
    for name in NAMES:
        with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
            make(name, [w], lr=torch.tensor([0.1, 0.2]))
    with pytest.raises(ValueError, match="lr as a Tensor is not supported for capturable=False and"):
        torch.optim.Adam([w], lr=torch.tensor(0.1), foreach=True)


def test_implementation_flags():
    w = torch.nn.Parameter(torch.ones(2))
    for name in ("SGD", "Adam", "AdamW", "Adagrad"):
        with pytest.raises(RuntimeError, match="`fused` and `foreach` cannot be `True` together"):
            make(name, [w], fused=True, foreach=True)
        with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
            make(name, [w], fused=True, differentiable=True)
        with pytest.raises(RuntimeError, match="requires all the params to be floating point Tensors"):
            make(name, [torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))], fused=True)


def test_invalid_parameters():
    w = torch.nn.Parameter(torch.ones(2))
    sgd_of = torch.optim.SGD
    with pytest.raises(TypeError, match="params argument given to the optimizer should be an iterable"):
        sgd_of(w, lr=0.1)
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        sgd_of([], lr=0.1)
    with pytest.raises(TypeError, match="optimizer can only optimize Tensors, but one of the params is int"):
        sgd_of([3], lr=0.1)
    with pytest.raises(ValueError, match=r"can't optimize a non-leaf Tensor: .* \(MulBackward0\); optimize"):
        sgd_of([w * 2], lr=0.1)
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        sgd_of([{"params": w}, {"params": w}], lr=0.1)
    with pytest.raises(TypeError, match="need to be organized in ordered collections"):
        sgd_of([{"params": {w}}], lr=0.1)
    with pytest.raises(TypeError, match="param_group must be a dict"):
        sgd_of([w], lr=0.1).add_param_group([w])
    with pytest.warns(UserWarning, match="a parameter group with duplicate parameters"):
        sgd_of([w, w], lr=0.1)
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        torch.optim.Muon([w])
    for name in ("Adafactor", "Muon"):
        z = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
        z.grad = torch.ones(2, 2, dtype=torch.complex64)
        with pytest.raises(RuntimeError, match=f"{name} does not support complex parameters"):
            make(name, [z]).step()


# ------------------------------------------------------------------ averaged models


def weight_sequence(average, weights):
    model = average.module
    for w in weights:
        source = copy.deepcopy(model)
        with torch.no_grad():
            source.weight.fill_(w)
        average.update_parameters(source)
    return average.module.weight.detach().numpy()


def test_averaged_model():
    swa = torch.optim.swa_utils
    model = torch.nn.Linear(2, 1, bias=False)
    weights = [1.0, 2.0, 6.0]
    for options in ({}, {"multi_avg_fn": swa.get_swa_multi_avg_fn()}, {"avg_fn": swa.get_swa_avg_fn()}):
        average = swa.AveragedModel(model, **options)
        np.testing.assert_allclose(weight_sequence(average, weights), 3.0, rtol=1e-6)
        assert average.n_averaged.item() == 3
    ema = 0.5 * (0.5 * 1.0 + 0.5 * 2.0) + 0.5 * 6.0
    for options in ({"multi_avg_fn": swa.get_ema_multi_avg_fn(0.5)}, {"avg_fn": swa.get_ema_avg_fn(0.5)}):
        average = swa.AveragedModel(model, **options)
        np.testing.assert_allclose(weight_sequence(average, weights), ema, rtol=1e-6)
    with pytest.raises(ValueError, match="Invalid decay value 2 provided"):
        swa.get_ema_avg_fn(2)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        swa.AveragedModel(model, avg_fn=swa.get_swa_avg_fn(), multi_avg_fn=swa.get_swa_multi_avg_fn())


def test_averaged_buffers():
    swa = torch.optim.swa_utils
    model = torch.nn.BatchNorm1d(1)
    for use_buffers, expected in ((False, 4.0), (True, 3.0)):
        average = swa.AveragedModel(model, use_buffers=use_buffers)
        for mean in (2.0, 4.0):
            model.running_mean.fill_(mean)
            average.update_parameters(model)
        assert average.module.running_mean.item() == expected


def test_update_bn():
    data = numbers(0, [(8, 3)])[0]
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1)).double().eval()
    batches = [(torch.tensor(data[:4]), "label"), (torch.tensor(data[4:]), "label")]
    torch.optim.swa_utils.update_bn(batches, model)
    norm = model[0]
    np.testing.assert_allclose(norm.running_mean.numpy(), data.mean(0))
    variances = (data[:4].var(0, ddof=1) + data[4:].var(0, ddof=1)) / 2
    np.testing.assert_allclose(norm.running_var.numpy(), variances)
    assert norm.momentum == 0.1 and not model.training


def test_a_small_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in [*NAMES, "LBFGS"]:
            w = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
            optimizer = make(name, [w], lr=1.0 if name in ("LBFGS", "Adadelta") else 0.05)

            def closure(w=w, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((w - 1) ** 2).sum()
                loss.backward()
                return loss

            first = optimizer.step(closure).item()
            for _ in range(60):
                last = optimizer.step(closure).item()
            assert last < first, name
