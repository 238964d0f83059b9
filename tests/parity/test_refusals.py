"""What PyTorch refuses: complex numbers where an order is needed, and operands that are neither tensors nor numbers.

The classes of errors and their first words are compared, on which programs match.
"""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.ops.record import registry

torch = pytest.importorskip("torch")


def get(library, name: str):
    for part in name.split("."):
        library = getattr(library, part)
    return library


def told(call) -> tuple[str, str]:
    try:
        return "", str(call())
    except Exception as error:
        return type(error).__name__, str(error).strip()[:30]


ORDER = """sort() sort(0) sort(3) argsort() msort() topk(1) topk(1,3) kthvalue(1) median() median(0) median(3) nanmedian() nanmedian(0) mode()
    mode(3) max() max(0) max(3) min() min(0) argmax() argmin() argmax(0) amax() amax(0) amax(3) amin() aminmax() unique() unique(dim=0)
    unique_consecutive() unique_consecutive(dim=0) isin(x) sort(0,True)""".split()  # fmt: skip


@pytest.mark.parametrize("call", ORDER)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_have_no_order(call, dtype):
    def by(library):
        x = library.ones(4, dtype=getattr(library, dtype)) * 1j
        name, _, arguments = call.partition("(")
        return lambda: eval(f"f(x, {arguments}", {"f": getattr(library, name), "x": x})

    ours, theirs = told(by(flambeau)), told(by(torch))
    if call == "unique_consecutive(dim=0)":  # both refuse, in the name of another kernel
        ours, theirs = ours[0], theirs[0]
    assert ours == theirs and theirs[0]


@pytest.mark.parametrize("name", ["searchsorted", "bucketize"])
@pytest.mark.parametrize("which", [(0, 1), (1, 0), (1, 1)])
def test_no_search_among_complex_numbers(name, which):
    def by(library):
        return lambda: getattr(library, name)(*[library.ones(3) * (1j if w else 1) for w in which])

    assert told(by(flambeau)) == told(by(torch))


def _binary() -> list[str]:
    """The elementwise ops of two operands that both libraries have, by their public names."""
    names = []
    for name, op in registry.items():
        # An alias is told as the op that it is an alias of.
        if op.form == "pointwise" and op.name == name and len(op.tensors) == 2 and not name.startswith(("aten.", "_", "Tensor.")):
            try:
                get(torch, name)
            except AttributeError:
                continue
            names.append(name)
    return names


@pytest.mark.parametrize("other", ["a", None, [1], {}])
@pytest.mark.parametrize("name", _binary())
def test_operands_that_are_no_numbers(name, other):
    def by(library):
        return lambda: get(library, name)(library.ones(2), other)

    ours, theirs = told(by(flambeau)), told(by(torch))
    assert ours[0] == theirs[0] == "TypeError"
    if name != "true_divide":  # by which name users call it cannot be known, and PyTorch tells div differently
        assert ("invalid combin" in ours[1]) == ("invalid combin" in theirs[1])


@pytest.mark.parametrize("form", ["second", "by name", "first", "method", "in place", "again"])
@pytest.mark.parametrize("name", _binary())
def test_numbers_where_there_must_be_tensors(name, form):
    """Each op takes a number for those of its operands that PyTorch's takes one for."""
    integral = registry[name].kernel in (np.gcd, np.lcm) or "bitwise" in name
    for number in (2, True) if integral else (2, 2.0, True):

        def by(library, number=number):
            x, function = library.tensor([1, 2]) if integral else library.tensor([0.5, 1.5]), get(library, name)
            method = getattr(x, name + "_" * (form == "in place"), None)
            return {
                "second": lambda: function(x, number),
                "by name": lambda: function(x, **{registry[name].tensors[1]: number}),
                "first": lambda: function(number, x),
                "method": lambda: method and method(number),
                "in place": lambda: method and method(number),
                "again": lambda: (function(x, x), function(x, x), function(x, number)),
            }[form]

        ours, theirs = told(by(flambeau)), told(by(torch))
        assert (ours[0] == "TypeError") == (theirs[0] == "TypeError"), (number, ours, theirs)


@pytest.mark.parametrize("other", [2, None, "a", [1.0]])
@pytest.mark.parametrize(
    "name", ["cross", "kron", "inner", "equal", "take", "prelu", "bincount", "trapezoid", "cumulative_trapezoid", "cdist"]
)
def test_arguments_of_composites_that_are_no_tensors(name, other):
    if name in ("trapezoid", "cumulative_trapezoid") and other is None or name == "bincount" and other in (2, None):
        return  # which is another argument, or none at all

    def by(library):
        return lambda: getattr(library, name)(library.ones(3, dtype=library.int64 if name == "bincount" else None), other)

    ours, theirs = told(by(flambeau)), told(by(torch))
    assert ours[0] == theirs[0] == "TypeError"


@pytest.mark.parametrize("name", ["scatter_add_", "scatter_add", "index_add_", "index_copy_", "masked_scatter_"])
@pytest.mark.parametrize("source", [1, 1.5, "a"])
def test_sources_that_are_no_tensors(name, source):
    def by(library):
        index = library.tensor([0, 1])
        where = (library.ones(5, dtype=library.bool),) if name == "masked_scatter_" else (0, index)
        return lambda: getattr(library.zeros(5), name)(*where, source)

    ours, theirs = told(by(flambeau)), told(by(torch))
    assert ours[0] == theirs[0] == "TypeError"
    assert ours[1].partition(" ")[0] == theirs[1].partition(" ")[0]


@pytest.mark.parametrize("name", ["add_", "eq_", "remainder_", "pow_", "bitwise_and_", "maximum"])
def test_the_name_in_the_error_is_that_of_the_method(name):
    def by(library):
        return lambda: getattr(library.ones(2), name)("a")

    ours, theirs = told(by(flambeau)), told(by(torch))
    assert ours[0] == theirs[0]
    assert ours[1].partition("(")[0] == theirs[1].partition("(")[0]


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", "fft ifft rfft ihfft hfft fft2 ifft2 rfft2 ihfft2 fftn ifftn ihfftn".split())
def test_transforms_of_real_numbers_are_conjugate_views_where_pytorchs_are(name, norm):
    x = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    y = getattr(torch.fft, name)(x.requires_grad_(), norm=norm)
    x2 = flambeau.arange(12.0, dtype=flambeau.float64).reshape(3, 4).requires_grad_()
    y2 = getattr(flambeau.fft, name)(x2, norm=norm)
    assert (y2.is_conj(), y2.stride()) == (y.is_conj(), y.stride())
    if y.is_conj():
        assert type(y2.grad_fn).__name__ == type(y.grad_fn).__name__
    assert abs(y2.detach().resolve_conj().numpy() - y.detach().resolve_conj().numpy()).max() < 1e-12
    (y.abs() ** 2).sum().backward()
    (y2.abs() ** 2).sum().backward()
    assert abs(x2.grad.numpy() - x.grad.numpy()).max() < 1e-9


INFINITE = [float("inf"), -float("inf"), 0.0, -0.0, -1.0, float("nan"), 2.0]


@pytest.mark.parametrize("order", range(6))
def test_polygamma_at_limits(order):
    ours = flambeau.polygamma(order, flambeau.tensor(INFINITE)).numpy()
    theirs = torch.polygamma(order, torch.tensor(INFINITE)).numpy()
    # At -1 PyTorch's float32 rounds to a large number where there is none.
    assert [str(v) for v in ours[[0, 1, 2, 3, 5]]] == [str(v) for v in theirs[[0, 1, 2, 3, 5]]]


@pytest.mark.parametrize("s", [1.0, 2.0, 2.5, 3.0, 0.5])
def test_zeta_at_limits(s):
    ours = flambeau.special.zeta(flambeau.tensor(s), flambeau.tensor(INFINITE)).numpy()
    theirs = torch.special.zeta(torch.tensor(s), torch.tensor(INFINITE)).numpy()
    assert [str(v) for v in ours[:6]] == [str(v) for v in theirs[:6]]


@pytest.mark.parametrize("z", [1e-30 + 1e-30j, 1e-23j, 0j, 1e20 + 1e20j, 3 + 4j, -0.0 + 0j, complex("nan"), complex("inf")])
def test_gradient_of_angle_at_limits(z):
    grads = []
    for library in (flambeau, torch):
        x = library.tensor([z], dtype=library.complex64, requires_grad=True)
        library.angle(x).sum().backward()
        grads.append(library.view_as_real(x.grad).numpy())
    assert ((abs(grads[0] - grads[1]) < 1e-6) | ((grads[0] != grads[0]) & (grads[1] != grads[1]))).all()
