"""``autograd.functional`` beside PyTorch: every function, setting and strategy, on functions of many shapes."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

VECTOR, MATRIX, NUMBER = [1.0, 2.0], [[0.3, 0.4], [0.5, 0.6]], 2.0
FUNCTIONS = {
    "square": (lambda t, x: x**2, [VECTOR]),
    "number": (lambda t, x: (x**3).sum(), [VECTOR]),
    "two inputs": (lambda t, x, y: y @ x, [VECTOR, MATRIX]),
    "number of two": (lambda t, x, y: (y @ x).exp().sum(), [VECTOR, MATRIX]),
    "two outputs": (lambda t, x: (x * 2, x.sum()), [VECTOR]),
    "three outputs of two": (lambda t, x, y: (x * y, (x + y).sum(), y.sum()), [VECTOR, MATRIX]),
    "constant": (lambda t, x: t.tensor(VECTOR), [VECTOR]),
    "another leaf": (lambda t, x: t.tensor(VECTOR, requires_grad=True), [VECTOR]),
    "of one of two": (lambda t, x, y: x.sum() * 2, [VECTOR, MATRIX]),
    "each of its own": (lambda t, x, y: (x.sum(), y.sum()), [VECTOR, MATRIX]),
    "0-dim": (lambda t, x: x * 3, [NUMBER]),
    "itself": (lambda t, x: x, [VECTOR]),
    "linear number": (lambda t, x: (x * 2).sum(), [VECTOR]),
    "complex": (lambda t, x: x * 1j, [VECTOR]),
    "detached": (lambda t, x: x.detach() * 2, [VECTOR]),
    "product": (lambda t, y: y.prod(), [MATRIX]),
    "softmax": (lambda t, y: y.softmax(1) @ y.tanh(), [MATRIX]),
    "written": (lambda t, x: (x * 1).mul_(x).sum(), [VECTOR]),
    "no elements": (lambda t, x: x * 2, [[]]),
    "a list": (lambda t, x: [x], [VECTOR]),
    "a number of Python's": (lambda t, x: 3, [VECTOR]),
}
VECTORS = ("none", "like", "as a tuple", "that requires grad", "of another size", "too many")


def plain(t, value, on_tape):
    if isinstance(value, t.Tensor):
        return np.array(value.detach().numpy(), dtype=complex), on_tape and value.requires_grad
    return [plain(t, v, on_tape) for v in value] if isinstance(value, (tuple, list)) else value


def outcome(t, call, on_tape=True):
    """The values of what is called, and whether they require grad, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(t, call(), on_tape)
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            return type(error).__name__, str(error)[: 11 if "outputs" in str(error) else 100]


def assert_same(got, wanted, case):
    if isinstance(wanted, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(wanted), (case, got, wanted)
        for g, w in zip(got, wanted, strict=True):
            assert_same(g, w, case)
    elif isinstance(wanted, np.ndarray):
        assert got.shape == wanted.shape, case
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=str(case))
    else:
        assert got == wanted or isinstance(wanted, str) and got[:20].lower() == wanted[:20].lower(), (case, got, wanted)


def given(t, name, requires_grad=False):
    function, values = FUNCTIONS[name]
    inputs = tuple([t.tensor(v, requires_grad=requires_grad) for v in values])
    return (lambda *xs: function(t, *xs)), inputs if len(inputs) > 1 else inputs[0]


@pytest.mark.parametrize("function", ["jacobian", "hessian"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_matrices(function, name):
    setting = "strategy" if function == "jacobian" else "outer_jacobian_strategy"
    cases = itertools.product(
        (False, True), (False, True), (False, True), (False, True), ("reverse-mode", "forward-mode", "sideways")
    )
    for requires_grad, create_graph, strict, vectorize, strategy in cases:
        if strategy == "sideways" and (requires_grad or strict or create_graph) or requires_grad and strict:
            continue
        outcomes = []
        for t in (torch, flambeau):
            f, inputs = given(t, name, requires_grad)
            settings = {"create_graph": create_graph, "strict": strict, "vectorize": vectorize, setting: strategy}
            on_tape = not vectorize  # PyTorch's parts of one batch are on the tape together
            outcomes.append(
                outcome(t, lambda t=t, f=f, i=inputs, s=settings: getattr(t.autograd.functional, function)(f, i, **s), on_tape)
            )
        if name == "no elements" and str(outcomes[0][0]) in ("RuntimeError", "IndexError"):
            continue  # PyTorch cannot stack no rows
        assert_same(*outcomes[::-1], (requires_grad, settings))


@pytest.mark.parametrize("function", ["vjp", "jvp", "vhp", "hvp"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_products(function, name):
    for vector, create_graph, strict in itertools.product(VECTORS, (False, True), (False, True)):
        outcomes = []
        for t in (torch, flambeau):
            f, inputs = given(t, name)
            like = inputs if function != "vjp" else f(*inputs if isinstance(inputs, tuple) else (inputs,))
            v = made(t, vector, like)
            settings = {"create_graph": create_graph, "strict": strict}
            outcomes.append(
                outcome(t, lambda t=t, f=f, i=inputs, v=v, s=settings: getattr(t.autograd.functional, function)(f, i, v, **s))
            )
        assert_same(*outcomes[::-1], (vector, settings))


def made(t, vector, like):
    """What is multiplied with."""
    like = tuple([x for x in (like if isinstance(like, tuple) else (like,)) if isinstance(x, t.Tensor)])
    if vector == "none" or not like:
        return None
    if vector == "of another size":
        return t.ones(3)
    found = tuple([t.full(x.shape, 2.0, requires_grad=vector == "that requires grad") for x in like])
    if vector == "too many":
        return found * 2
    return found if len(found) > 1 or vector == "as a tuple" else found[0]


@pytest.mark.parametrize("function", ["vjp", "jvp", "vhp", "hvp", "jacobian", "hessian"])
@pytest.mark.parametrize("inputs", [3, "x", [VECTOR], ()])
def test_inputs_that_are_none(function, inputs):
    outcomes = [
        outcome(t, lambda t=t: getattr(t.autograd.functional, function)(lambda x: x.sum(), inputs)) for t in (torch, flambeau)
    ]
    assert outcomes[1][0] == outcomes[0][0]
