"""Every op names the argument that should be a tensor and is not; nobody meets an AttributeError from inside."""

from __future__ import annotations

import re

import pytest

import flambeau as torch
from flambeau.ops.samples import Make
from flambeau.ops.wrong_settings import flags_of
from flambeau.ops.wrong_tensors import wrong_tensor
from tests.test_ops import leaves
from tests.wrong_tensors import PUBLIC, calls, told

NAMES_THE_ARGUMENT = re.compile(
    r"must be Tensor|must be tuple of Tensors|expected Tensor as element|received an invalid combination|doesn't apply to a|argument '"
    r"|expected \w+ tensors, but got|unsupported operand type|must be a number|cannot be interpreted|bad operand type|not supported between"
)


@pytest.mark.parametrize("op", PUBLIC, ids=lambda op: op.name)
def test_anything_but_a_tensor(op):
    for place, args, kwargs, wrongs in calls(op):
        for wrong, put in wrongs:
            if isinstance(wrong, str) or type(wrong).__name__ == "Thing":
                name, text = told(op.function, *put(args, kwargs))
                if name in ("RuntimeError", "ValueError") and isinstance(wrong, str):
                    continue  # the name of a device, or of a mode
                assert name == "TypeError" and NAMES_THE_ARGUMENT.search(text), (place, wrong, name, text)


@pytest.mark.parametrize("op", PUBLIC, ids=lambda op: op.name)
def test_arrays_are_no_tensors(op):
    """Arrays have much of a tensor's methods, so an op that did not ask would run, or fail at something else."""
    for place, args, kwargs, _ in calls(op):
        array = (args[place] if isinstance(place, int) else kwargs[place]).numpy()
        given = ((*args[:place], array, *args[place + 1 :]), kwargs) if isinstance(place, int) else (args, {**kwargs, place: array})
        name, text = told(op.function, *given)
        assert name == "TypeError" and NAMES_THE_ARGUMENT.search(text), (place, name, text)


@pytest.mark.parametrize("op", PUBLIC, ids=lambda op: op.name)
def test_calls_that_fit_are_not_wrong(op):
    for sample in op.samples(Make()):
        assert wrong_tensor(op.function, sample.args, sample.kwargs) is None
    for sample in op.errors(Make()) if op.errors else ():
        assert wrong_tensor(op.function, sample.args, sample.kwargs) is None or sample.error is TypeError


def test_methods_count_without_their_tensor():
    x = torch.ones(2)
    for call, text in [
        (lambda: x.maximum("a"), "maximum(): argument 'other' (position 1) must be Tensor, not str"),
        (lambda: torch.maximum(x, "a"), "maximum(): argument 'other' (position 2) must be Tensor, not str"),
        (lambda: torch.maximum(x, other="a"), "maximum(): argument 'other' must be Tensor, not str"),
        (lambda: x.index_add_(0, "a", x + 1), "index_add_(): argument 'index' (position 2) must be Tensor, not str"),
        (lambda: torch.cat([x, 1]), "expected Tensor as element 1 in argument 0, but got int"),
        (lambda: torch.linalg.det("a"), "linalg_det(): argument 'A' (position 1) must be Tensor, not str"),
    ]:
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == text


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="must match the size") as caught:
        torch.maximum(torch.ones(2), torch.ones(3))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("op", PUBLIC, ids=lambda op: op.name)
def test_flags_are_true_or_false(op):
    """What Python would ask for its truth is no flag: PyTorch's compiled functions take nothing but a ``bool``."""
    for sample in op.samples(Make(requires_grad=False)):
        for place, flag in flags_of(op):
            for wrong in (1.5, "text", None, [True]):
                if place < len(sample.args):
                    given = (*sample.args[:place], wrong, *sample.args[place + 1 :]), sample.kwargs
                else:
                    given = sample.args, {**sample.kwargs, flag: wrong}
                if not leaves(given):
                    continue  # it makes a tensor of nothing
                name, text = told(op.function, *given)
                assert name == "TypeError" and re.search(f"'{flag}'.* must be bool, not|invalid combination", text), (
                    flag,
                    wrong,
                    text,
                )
        break
