"""Calls whose numbers stand among the tensors that they scale, as PyTorch took them once and still does."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

FORMS = {
    **{f"{name}({n})": (name, numbers, 1) for name in ("add", "sub") for n, numbers in enumerate([(2,)])},
    **{name: (name, (2,), 2) for name in ("addcmul", "addcdiv")},
    **{
        f"{name}{numbers}": (name, numbers, 2)
        for name in ("addmm", "addmv", "addr", "addbmm", "baddbmm")
        for numbers in ((2,), (2, 3))
    },
}
SHAPES = {
    "addmv": ((2,), (2, 2), (2,)),
    "addr": ((2, 2), (2,), (2,)),
    "addbmm": ((2, 2), (1, 2, 2), (1, 2, 2)),
    "baddbmm": ((1, 2, 2),) * 3,
}


def outcomes(lib, name, numbers, others):
    """Of the method, the method in place, and the function."""
    tensors = [lib.full(shape, float(i + 1)) for i, shape in enumerate(SHAPES.get(name, ((2, 2),) * (others + 1)))]
    first, rest = tensors[0], tensors[1:]
    yield getattr(first, name)(*numbers, *rest).tolist()
    yield getattr(first.clone(), name + "_")(*numbers, *rest).tolist()
    between = [first, *numbers] if others == 1 or name[:4] == "addc" else [numbers[0], first, *numbers[1:]]
    yield getattr(lib, name)(*between, *rest).tolist()


@pytest.mark.parametrize("form", FORMS)
def test_numbers_among_tensors(form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(outcomes(flambeau, *FORMS[form])) == list(outcomes(torch, *FORMS[form]))


def test_others_are_refused_as_ever():
    for lib in (torch, flambeau):
        with pytest.raises(TypeError, match=r"^addcmul\(\): argument 'tensor1' \(position 1\) must be Tensor, not int$"):
            lib.ones(2).addcmul(2, lib.ones(2))
